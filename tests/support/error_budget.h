// SPDX-License-Identifier: Apache-2.0
// Is a result as good as its arithmetic allows? No literal tolerances: `model` is the same math in
// the same precisions, written naively, and `reference` is fp64. With e = max |model - reference|,
//
//   element i:  |got - reference| <= 2 e + r
//               r = half a unit of the output type in the last place at the reference
//                   + 2^-24 * magnitude (sum of |terms| of the element; one fp32 rounding each)
//   norm:       |got - reference|_2 <= 2 |model - reference|_2 + |r|_2
//
// The magnitude keeps a case with few elements fair, whose model may hit the reference by luck. NaN
// and Inf are compared first: a non-finite reference element must come out as the same NaN or
// infinity.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <span>
#include <sstream>
#include <string>

#include "dovetail/tensor.h"

namespace dovetail::test_support {

struct Comparison {
  std::span<const double> got;
  std::span<const double> model;
  std::span<const double> reference;
  std::span<const double> magnitude;  // or empty
  DataType storage = DataType::kFloat32;
};

// Half the distance between neighbouring values of `type` around `value`.
inline double half_unit(double value, DataType type) {
  const auto [bits, smallest_exponent] = [&]() -> std::pair<int, int> {
    switch (type) {
      case DataType::kFloat16:
        return {11, -14};
      case DataType::kBFloat16:
        return {8, -126};
      case DataType::kFloat8E4M3:
        return {4, -6};
      default:
        return {24, -126};
    }
  }();
  const int exponent = value == 0 ? smallest_exponent : std::ilogb(value);
  return std::ldexp(1.0, std::max(exponent, smallest_exponent) - bits);
}

// "" when `got` is within the budget, else one sentence that names the worst element.
inline std::string check_error_budget(const Comparison& c) {
  std::ostringstream message;
  const std::size_t count = c.reference.size();
  if (c.got.size() != count || c.model.size() != count ||
      (!c.magnitude.empty() && c.magnitude.size() != count)) {
    message << "sizes differ: got " << c.got.size() << ", model " << c.model.size()
            << ", reference " << count << ", magnitude " << c.magnitude.size();
    return message.str();
  }
  const auto same_non_finite = [](double a, double b) {
    return std::isnan(b) ? std::isnan(a) : a == b;
  };
  double model_max = 0;
  for (std::size_t i = 0; i < count; ++i) {
    if (!std::isfinite(c.reference[i]) || !std::isfinite(c.got[i])) {
      if (!same_non_finite(c.got[i], c.reference[i])) {
        message << "element " << i << " is " << c.got[i] << ", reference " << c.reference[i];
        return message.str();
      }
      continue;
    }
    if (!std::isfinite(c.model[i])) {
      message << "the model itself is " << c.model[i] << " at element " << i;
      return message.str();
    }
    model_max = std::max(model_max, std::abs(c.model[i] - c.reference[i]));
  }
  double got_square = 0;
  double model_square = 0;
  double rounding_square = 0;
  for (std::size_t i = 0; i < count; ++i) {
    if (!std::isfinite(c.reference[i])) {
      continue;
    }
    const double error = std::abs(c.got[i] - c.reference[i]);
    const double rounding = half_unit(c.reference[i], c.storage) +
                            (c.magnitude.empty() ? 0.0 : 0x1p-24 * c.magnitude[i]);
    if (error > 2 * model_max + rounding) {
      message << "element " << i << " is " << c.got[i] << ", reference " << c.reference[i]
              << ", error " << error << ", allowed " << 2 * model_max + rounding
              << " = 2 * (model's largest error " << model_max << ") + " << rounding;
      return message.str();
    }
    got_square += error * error;
    model_square += std::pow(c.model[i] - c.reference[i], 2);
    rounding_square += rounding * rounding;
  }
  const double allowed = 2 * std::sqrt(model_square) + std::sqrt(rounding_square);
  if (std::sqrt(got_square) > allowed) {
    message << "error norm is " << std::sqrt(got_square) << ", allowed " << allowed
            << " = 2 * (model's norm " << std::sqrt(model_square) << ") + "
            << std::sqrt(rounding_square);
    return message.str();
  }
  return "";
}

// "" when every element is equal (NaN equals nothing), else the first that differs.
inline std::string check_equal(std::span<const double> got, std::span<const double> expected) {
  std::ostringstream message;
  if (got.size() != expected.size()) {
    message << "sizes differ: got " << got.size() << ", expected " << expected.size();
    return message.str();
  }
  for (std::size_t i = 0; i < got.size(); ++i) {
    if (got[i] != expected[i]) {
      message << "element " << i << " is " << got[i] << ", expected exactly " << expected[i];
      return message.str();
    }
  }
  return "";
}

}  // namespace dovetail::test_support
