// SPDX-License-Identifier: Apache-2.0
#include "conformance/int4_gemm_instance.h"

#include <cmath>
#include <stdexcept>

#include "dovetail/int4_pack.h"
#include "layout/int4_layout.h"
#include "ops/int4_gemm_reference.h"
#include "support/error_budget.h"
#include "support/random.h"
#include "support/typed_values.h"

namespace dovetail::conformance {
namespace {

using test_support::GuardedBuffer;
using test_support::Random;
using test_support::store_value;

struct PlainData {
  std::vector<double> activations;  // [M, K]
  std::vector<std::uint8_t> codes;  // [N, K]
  std::vector<float> scales;        // [N, K/G]
  std::vector<std::uint8_t> zero_points;
  std::vector<double> bias;
};

double make_activation(const Int4GemmCase& c, Random& random, std::int64_t m, std::int64_t k) {
  switch (c.data) {
    case Int4GemmData::kBell:
      return random.bell();
    case Int4GemmData::kPositive:
      return random.uniform(0.2f, 0.5f);
    case Int4GemmData::kIntegers:
      if (k % c.group_size == m % c.group_size) {  // one per group makes the int8 scale exactly 1
        return random.bits() & 1u ? 127 : -127;
      }
      return static_cast<double>(random.integer(-3, 3));
    case Int4GemmData::kOneHot: {
      const std::int64_t last = c.m > 1 ? c.m - 1 : 1;
      return k == m * (c.k - 1) / last ? 127 : 0;
    }
  }
  return 0;
}

float make_scale(const Int4GemmCase& c, Random& random) {
  switch (c.data) {
    case Int4GemmData::kBell:
      return random.uniform(0.002f, 0.02f);
    case Int4GemmData::kPositive:
      return random.uniform(0.2f, 0.5f);
    case Int4GemmData::kIntegers:
      return std::ldexp(1.0f, static_cast<int>(random.integer(-2, 0)));
    case Int4GemmData::kOneHot:
      return static_cast<float>(random.integer(1, 255)) * 0x1p-9f;
  }
  return 0;
}

PlainData make_data(const Int4GemmCase& c) {
  Random random(static_cast<std::uint64_t>(c.m * 1000003 + c.n * 1009 + c.k));
  PlainData data;
  for (std::int64_t m = 0; m < c.m; ++m) {
    for (std::int64_t k = 0; k < c.k; ++k) {
      data.activations.push_back(make_activation(c, random, m, k));
    }
  }
  const bool narrow = c.data == Int4GemmData::kPositive;
  for (std::int64_t i = 0; i < static_cast<std::int64_t>(c.n) * c.k; ++i) {
    data.codes.push_back(
        static_cast<std::uint8_t>(narrow ? random.integer(3, 13) : random.integer(0, 15)));
  }
  const std::int64_t scales = static_cast<std::int64_t>(c.n) * (c.k / c.group_size);
  for (std::int64_t i = 0; i < scales; ++i) {
    data.scales.push_back(make_scale(c, random));
    if (c.zero_points) {
      data.zero_points.push_back(static_cast<std::uint8_t>(random.integer(0, 15)));
    }
  }
  const bool exact = c.data == Int4GemmData::kIntegers || c.data == Int4GemmData::kOneHot;
  for (std::int64_t n = 0; c.bias && n < c.n; ++n) {
    data.bias.push_back(exact ? static_cast<double>(random.integer(-64, 64)) * 0.25
                              : random.bell());
  }
  return data;
}

void check(const Status& status) {
  if (!status.ok()) {
    throw std::logic_error(status.message());
  }
}

template <class Buffer>
Buffer make_buffer(std::int64_t bytes) {
  return std::make_unique<GuardedBuffer>(static_cast<std::size_t>(bytes), 1);
}

}  // namespace

Int4GemmInstance::Int4GemmInstance(const Int4GemmCase& c, WeightLayout layout) : case_(c) {
  problem_ = {.attributes = {.gemm_n = c.n,
                             .gemm_k = c.k,
                             .group_size = c.group_size,
                             .has_zero_points = c.zero_points,
                             .has_bias = c.bias,
                             .weight_layout = layout,
                             .swiglu = c.swiglu},
              .activation_type = c.activation_type,
              .scale_type = c.scale_type,
              .m = c.m};
  const PlainData data = make_data(c);
  const auto element = static_cast<std::int64_t>(size_of(c.activation_type));
  activations_ = make_buffer<Buffer>(c.m * c.k * element);
  output_ = make_buffer<Buffer>(c.m * problem_.attributes.width() * element);
  test_support::store_values(activations_->data(), c.activation_type, data.activations);
  if (c.bias) {
    bias_ = make_buffer<Buffer>(c.n * element);
    test_support::store_values(bias_->data(), c.activation_type, data.bias);
  }
  const auto pack = [&](WeightLayout into, Buffer& weights, Buffer& scales, Buffer& zero_points) {
    const std::int64_t count = int4_scales_shape(into, c.n, c.k, c.group_size).count();
    weights = make_buffer<Buffer>(int4_weights_shape(into, c.n, c.k).count());
    scales = make_buffer<Buffer>(count * static_cast<std::int64_t>(size_of(c.scale_type)));
    zero_points = make_buffer<Buffer>(c.zero_points ? count : 0);
    check(pack_int4({c.n, c.k, c.group_size, into, c.scale_type},
                    {data.codes, data.scales, data.zero_points},
                    {weights->bytes(), scales->bytes(), zero_points->bytes()}));
  };
  pack(layout, weights_, scales_, zero_points_);
  pack(WeightLayout::kCpuV1, judge_weights_, judge_scales_, judge_zero_points_);
}

Int4GemmBuffers Int4GemmInstance::buffers() {
  return {.activations = activations_->data(),
          .weights = weights_->data(),
          .scales = scales_->data(),
          .zero_points = case_.zero_points ? zero_points_->data() : nullptr,
          .bias = case_.bias ? bias_->data() : nullptr,
          .output = output_->data()};
}

Int4GemmInstance::Expectation Int4GemmInstance::compute(const Int4GemmPrecision& precision) const {
  Int4GemmProblem problem = problem_;
  problem.attributes.weight_layout = WeightLayout::kCpuV1;
  problem.attributes.compute_mode = precision.mode;
  const Int4GemmBuffers buffers{
      .activations = activations_->data(),
      .weights = judge_weights_->data(),
      .scales = judge_scales_->data(),
      .zero_points = case_.zero_points ? judge_zero_points_->data() : nullptr,
      .bias = case_.bias ? bias_->data() : nullptr};
  const std::int64_t width = problem.attributes.width();
  const auto outputs = static_cast<std::size_t>(case_.m * width);
  Expectation e{precision, std::vector<double>(outputs), std::vector<double>(outputs), {}};
  check(int4_gemm_reference(problem, buffers, e.reference, e.magnitude));

  // The model: dequantized weights in weight_type, fp32 products and sums in order; with int8,
  // exact integer sums within a group, then fp32. With swiglu gate and up are stored in between.
  const auto k_count = static_cast<std::size_t>(case_.k);
  const auto group = static_cast<std::size_t>(case_.group_size);
  std::vector<float> values(static_cast<std::size_t>(case_.m) * k_count);
  for (std::size_t i = 0; i < values.size(); ++i) {
    values[i] = static_cast<float>(
        test_support::load_value(activations_->data(), case_.activation_type, i));
  }
  std::vector<Int8Group> rounded;
  for (std::size_t i = 0; precision.mode == ComputeMode::kInt8 && i < values.size(); i += group) {
    rounded.push_back(round_to_int8(std::span(values).subspan(i, group)));
  }
  e.model.resize(static_cast<std::size_t>(case_.m * case_.n));
  std::vector<Int4Weight> weights(k_count);
  std::vector<float> dequantized(k_count);
  for (std::int64_t n = 0; n < case_.n; ++n) {
    for (std::size_t k = 0; k < k_count; ++k) {
      weights[k] = int4_weight(problem, buffers, n, static_cast<std::int64_t>(k));
      dequantized[k] = static_cast<float>(test_support::rounded(
          weights[k].scale * static_cast<float>(weights[k].code), precision.weight_type));
    }
    const float bias = case_.bias
                           ? static_cast<float>(test_support::load_value(
                                 bias_->data(), case_.activation_type, static_cast<std::size_t>(n)))
                           : 0.0f;
    for (std::int64_t m = 0; m < case_.m; ++m) {
      const std::size_t row = static_cast<std::size_t>(m) * k_count;
      float sum = 0;
      for (std::size_t k = 0; k < k_count; k += group) {
        if (precision.mode == ComputeMode::kInt8) {
          const Int8Group& a = rounded[(row + k) / group];
          int exact = 0;
          for (std::size_t i = 0; i < group; ++i) {
            exact += a.values[i] * weights[k + i].code;
          }
          sum += static_cast<float>(exact) * (weights[k].scale * a.scale);
        } else {
          for (std::size_t i = k; i < k + group; ++i) {
            sum += values[row + i] * dequantized[i];
          }
        }
      }
      e.model[static_cast<std::size_t>(m * case_.n + n)] =
          test_support::rounded(sum + bias, case_.activation_type);
    }
  }
  if (case_.swiglu) {
    for (std::size_t i = 0; i < outputs; ++i) {
      const std::size_t at =
          i + i / static_cast<std::size_t>(width) * static_cast<std::size_t>(width);
      const auto gate = static_cast<float>(e.model[at]);
      const auto up = static_cast<float>(e.model[at + static_cast<std::size_t>(width)]);
      e.model[i] =
          test_support::rounded(gate / (1.0f + std::exp(-gate)) * up, case_.activation_type);
    }
    e.model.resize(outputs);
  }
  return e;
}

const Int4GemmInstance::Expectation& Int4GemmInstance::expect(
    const Int4GemmPrecision& precision) const {
  for (const Expectation& known : expectations_) {
    if (known.precision == precision) {
      return known;
    }
  }
  if (expectations_.size() == 2) {
    expectations_.erase(expectations_.begin());
  }
  expectations_.push_back(compute(precision));
  return expectations_.back();
}

std::string Int4GemmInstance::find_stray_write() const {
  const std::pair<const Buffer&, const char*> guarded[] = {
      {activations_, "activations"}, {weights_, "weights"}, {scales_, "scales"},
      {zero_points_, "zero_points"}, {bias_, "bias"},       {output_, "output"}};
  for (const auto& [buffer, name] : guarded) {
    if (buffer != nullptr && !buffer->intact()) {
      return std::string("a write beyond the bounds of ") + name;
    }
  }
  return "";
}

std::string Int4GemmInstance::judge(const Int4GemmPrecision& precision) const {
  const std::string stray = find_stray_write();
  return stray.empty() ? judge(precision, output_->data()) : stray;
}

std::string Int4GemmInstance::judge(const Int4GemmPrecision& precision, const void* output) const {
  const Expectation& e = expect(precision);
  const std::vector<double> got =
      test_support::load_values(output, case_.activation_type, e.reference.size());
  const bool exact = case_.data == Int4GemmData::kIntegers || case_.data == Int4GemmData::kOneHot;
  if (exact && precision.weight_type == DataType::kFloat32) {
    std::vector<double> expected(e.reference);
    for (double& value : expected) {
      if (static_cast<double>(static_cast<float>(value)) != value) {
        return "the case is not exact: its reference does not fit fp32";
      }
      value = test_support::rounded(value, case_.activation_type);
    }
    return test_support::check_equal(got, expected);
  }
  return test_support::check_error_budget(
      {got, e.model, e.reference, e.magnitude, case_.activation_type});
}

}  // namespace dovetail::conformance
