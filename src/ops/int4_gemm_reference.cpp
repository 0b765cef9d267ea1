// SPDX-License-Identifier: Apache-2.0
#include "ops/int4_gemm_reference.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "layout/int4_layout.h"
#include "ops/element.h"
#include "ops/message.h"

namespace dovetail {
namespace {

constexpr double kSteepestSilu = 1.1;  // no tangent of silu is steeper

float load_float(const void* data, DataType type, std::int64_t i) {
  return static_cast<float>(load_element(data, type, i));
}

// The activations as the mode sees them.
std::vector<double> activation_values(const Int4GemmProblem& p, const Int4GemmBuffers& buffers) {
  const std::int64_t count = p.m * p.attributes.gemm_k;
  std::vector<float> singles(static_cast<std::size_t>(count));
  for (std::int64_t i = 0; i < count; ++i) {
    singles[static_cast<std::size_t>(i)] = load_float(buffers.activations, p.activation_type, i);
  }
  std::vector<double> values(singles.begin(), singles.end());
  if (p.attributes.compute_mode == ComputeMode::kInt8) {
    const auto group = static_cast<std::size_t>(p.attributes.group_size);
    for (std::size_t first = 0; first < values.size(); first += group) {
      const Int8Group rounded = round_to_int8(std::span(singles).subspan(first, group));
      for (std::size_t i = 0; i < group; ++i) {
        values[first + i] = static_cast<double>(rounded.values[i]) * rounded.scale;
      }
    }
  }
  return values;
}

}  // namespace

Int8Group round_to_int8(std::span<const float> group) {
  Int8Group result{};
  float absmax = 0;
  for (const float a : group) {
    if (std::isnan(a)) {
      result.scale = std::numeric_limits<float>::quiet_NaN();
      return result;
    }
    absmax = std::max(absmax, std::abs(a));
  }
  if (absmax < kInt8SmallestAbsmax) {
    return result;
  }
  result.scale = absmax / 127.0f;
  const float inverse = 127.0f / absmax;
  for (std::size_t i = 0; i < group.size(); ++i) {
    const float scaled = group[i] * inverse;  // NaN for an infinite element
    result.values[i] =
        std::isnan(scaled) ? std::int8_t{-128} : static_cast<std::int8_t>(std::nearbyint(scaled));
  }
  return result;
}

Int4Weight int4_weight(const Int4GemmProblem& p, const Int4GemmBuffers& buffers, std::int64_t n,
                       std::int64_t k) {
  const Int4GemmAttributes& a = p.attributes;
  const NibbleAddress address = a.weight_layout == WeightLayout::kCpuV1
                                    ? cpu_v1_address(n, k, a.gemm_k)
                                    : edgellm_v1_address(n, k, a.gemm_k);
  const int code =
      static_cast<const std::uint8_t*>(buffers.weights)[address.byte] >> address.shift & 15;
  const std::int64_t at =
      scale_index(a.weight_layout, n, k / a.group_size, a.gemm_n, a.gemm_k / a.group_size);
  const int zero_point =
      buffers.zero_points == nullptr ? 8 : static_cast<const std::int8_t*>(buffers.zero_points)[at];
  return {code - zero_point, load_float(buffers.scales, p.scale_type, at)};
}

Status int4_gemm_reference(const Int4GemmProblem& p, const Int4GemmBuffers& buffers,
                           std::span<double> output, std::span<double> magnitude) {
  DOVETAIL_RETURN_IF_ERROR(validate(p));
  const Int4GemmAttributes& a = p.attributes;
  if (a.weight_layout == WeightLayout::kCudaV1) {
    return unsupported(
        "int4_gemm reference: weight_layout is cuda_v1, expected edgellm_v1 or cpu_v1");
  }
  const std::int64_t n_count = a.gemm_n;
  const std::int64_t k_count = a.gemm_k;
  const auto outputs = static_cast<std::size_t>(p.m * a.width());
  if (output.size() != outputs || (!magnitude.empty() && magnitude.size() != outputs)) {
    return invalid_argument("int4_gemm reference: output has ", output.size(), " and magnitude ",
                            magnitude.size(), " elements, expected ", outputs);
  }
  if (a.swiglu != 0) {
    Int4GemmProblem plain = p;
    plain.attributes.swiglu = 0;
    std::vector<double> gate_up(2 * outputs), terms(2 * outputs);
    DOVETAIL_RETURN_IF_ERROR(int4_gemm_reference(plain, buffers, gate_up, terms));
    const auto width = static_cast<std::size_t>(a.width());
    for (std::size_t i = 0; i < outputs; ++i) {
      const std::size_t gate = i + i / width * width, up = gate + width;
      const double silu = gate_up[gate] / (1 + std::exp(-gate_up[gate]));
      output[i] = silu * gate_up[up];
      if (!magnitude.empty()) {
        magnitude[i] =
            kSteepestSilu * terms[gate] * std::abs(gate_up[up]) + std::abs(silu) * terms[up];
      }
    }
    return Status::success();
  }
  const std::vector<double> activations = activation_values(p, buffers);
  std::vector<double> weights(static_cast<std::size_t>(k_count));
  for (std::int64_t n = 0; n < n_count; ++n) {
    for (std::int64_t k = 0; k < k_count; ++k) {
      const Int4Weight weight = int4_weight(p, buffers, n, k);
      weights[static_cast<std::size_t>(k)] = static_cast<double>(weight.scale) * weight.code;
    }
    const double bias =
        buffers.bias == nullptr ? 0.0 : load_float(buffers.bias, p.activation_type, n);
    for (std::int64_t m = 0; m < p.m; ++m) {
      const double* row = &activations[static_cast<std::size_t>(m * k_count)];
      double sum = 0;
      double terms = 0;
      for (std::size_t k = 0; k < weights.size(); ++k) {
        const double term = row[k] * weights[k];
        sum += term;
        terms += std::abs(term);
      }
      const auto at = static_cast<std::size_t>(m * n_count + n);
      output[at] = sum + bias;
      if (!magnitude.empty()) {
        magnitude[at] = terms + std::abs(bias);
      }
    }
  }
  return Status::success();
}

}  // namespace dovetail
