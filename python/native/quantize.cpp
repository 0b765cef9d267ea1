// SPDX-License-Identifier: Apache-2.0
#include "quantize.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "layout/narrow_float.h"
#include "ops/message.h"

namespace dovetail {
namespace {

// Factors on the range: 1 fits the extremes, less clips them, more suits a rounded zero point.
constexpr int kGridSteps = 31;
constexpr float kGridStart = 1.1f;
constexpr float kGridStep = 0.02f;
constexpr int kLeastSquaresSteps = 2;
constexpr float kSmallestAbsmax =
    1e-30f;  // below, a group counts as zero: 1 / scale must stay finite
constexpr std::int64_t kRowsPerTask = 16;
constexpr int kLanes = 16;  // independent sums, so that the compiler may vectorise the reduction

float to_storage(float value, DataType type) {
  if (type == DataType::kFloat16) {
    return std::max(half_to_float(float_to_half(value)), 0x1p-24f);
  }
  return type == DataType::kBFloat16 ? bfloat16_to_float(float_to_bfloat16(value)) : value;
}

// Adding and subtracting 1.5 * 2^23 rounds to the nearest integer, ties to even, in plain SSE2.
inline float round_even(float x) {
  return (x + 12582912.0f) - 12582912.0f;
}

struct Candidate {
  float scale;
  float zero_point;
};

struct Fit {
  float error;          // sum of (w - r s)^2
  float least_squares;  // the scale that suits these r best, 0 if all r are 0
};

template <int kGroup>
Fit evaluate(const float* w, Candidate c) {
  const float inverse = 1.0f / c.scale;
  const float low = -c.zero_point;
  const float high = 15.0f - c.zero_point;
  float error[kLanes] = {};
  float wr[kLanes] = {};
  float rr[kLanes] = {};
  for (int i = 0; i < kGroup; i += kLanes) {
    for (int lane = 0; lane < kLanes; ++lane) {
      const float x = w[i + lane];
      float r = x * inverse;
      r = r < low ? low : r;
      r = r > high ? high : r;
      r = round_even(r);
      const float difference = x - r * c.scale;
      error[lane] += difference * difference;
      wr[lane] += x * r;
      rr[lane] += r * r;
    }
  }
  float total = 0, total_wr = 0, total_rr = 0;
  for (int lane = 0; lane < kLanes; ++lane) {
    total += error[lane];
    total_wr += wr[lane];
    total_rr += rr[lane];
  }
  return {total, total_rr > 0 ? total_wr / total_rr : 0.0f};
}

template <int kGroup>
Candidate search(const float* w, bool asymmetric, DataType type) {
  float low = 0, high = 0;
  for (int i = 0; i < kGroup; ++i) {
    low = std::min(low, w[i]);
    high = std::max(high, w[i]);
  }
  const float absmax = std::max(-low, high);
  if (absmax < kSmallestAbsmax) {
    return {1.0f, 8.0f};
  }
  Candidate best{};
  Fit best_fit{std::numeric_limits<float>::infinity(), 0};
  const auto consider = [&](float scale, float zero_point) {
    const Candidate candidate{to_storage(scale, type), zero_point};
    const Fit fit = evaluate<kGroup>(w, candidate);
    if (fit.error < best_fit.error || best.scale == 0) {
      best = candidate;
      best_fit = fit;
    }
  };
  for (int step = 0; step < kGridSteps; ++step) {
    const float factor = kGridStart - kGridStep * static_cast<float>(step);
    if (asymmetric) {
      const float scale = (high - low) * factor / 15.0f;
      consider(scale, std::clamp(round_even(-low * factor / scale), 0.0f, 15.0f));
    } else {
      consider(absmax * factor / 7.0f, 8.0f);
    }
  }
  const auto refine = [&] {
    for (int step = 0; step < kLeastSquaresSteps && best_fit.least_squares > 0; ++step) {
      consider(best_fit.least_squares, best.zero_point);
    }
  };
  refine();
  if (asymmetric) {
    const Candidate center = best;
    for (const float zero_point : {center.zero_point - 1, center.zero_point + 1}) {
      if (zero_point >= 0 && zero_point <= 15) {
        consider(center.scale, zero_point);
      }
    }
    refine();
  }
  return best;
}

// Codes of one group with the chosen scale; returns the squared error.
double store(std::span<const float> w, Candidate c, std::uint8_t* codes) {
  double error = 0;
  const float inverse = 1.0f / c.scale;
  for (std::size_t i = 0; i < w.size(); ++i) {
    const float code =
        round_even(std::clamp(w[i] * inverse, -c.zero_point, 15.0f - c.zero_point)) + c.zero_point;
    codes[i] = static_cast<std::uint8_t>(code);
    const double difference = w[i] - static_cast<double>(code - c.zero_point) * c.scale;
    error += difference * difference;
  }
  return error;
}

struct Job {
  const QuantizeParams& params;
  const QuantizeBuffers& buffers;
  std::vector<QuantizeError> row_errors;

  void row(std::int64_t n) {
    const auto group = static_cast<std::size_t>(params.group_size);
    const std::size_t groups = static_cast<std::size_t>(params.k) / group;
    const auto row = static_cast<std::size_t>(n);
    for (std::size_t g = 0; g < groups; ++g) {
      const std::size_t at = (row * groups + g) * group;
      const std::span<const float> w = buffers.weights.subspan(at, group);
      const auto find = group == 32 ? search<32> : group == 64 ? search<64> : search<128>;
      const Candidate best = find(w.data(), params.asymmetric, params.scale_type);
      buffers.scales[row * groups + g] = best.scale;
      if (params.asymmetric) {
        buffers.zero_points[row * groups + g] = static_cast<std::uint8_t>(best.zero_point);
      }
      row_errors[row].squared_error += store(w, best, &buffers.codes[at]);
      for (const float x : w) {
        row_errors[row].squared_norm += static_cast<double>(x) * x;
      }
    }
  }

  static void task(void* arg, std::size_t i) {
    Job& job = *static_cast<Job*>(arg);
    const std::int64_t begin = static_cast<std::int64_t>(i) * kRowsPerTask;
    for (std::int64_t n = begin; n < std::min(begin + kRowsPerTask, job.params.n); ++n) {
      job.row(n);
    }
  }
};

}  // namespace

Result<QuantizeError> quantize_int4(const QuantizeParams& params, const QuantizeBuffers& buffers,
                                    const TaskRunner& tasks) {
  const std::int64_t g = params.group_size;
  if ((g != 32 && g != 64 && g != 128) || params.k < 1 || params.k % g != 0) {
    return unsupported("quantize: K is ", params.k, " with group_size ", g,
                       ", expected a multiple of a group_size of 32, 64 or 128");
  }
  Job job{params, buffers, std::vector<QuantizeError>(static_cast<std::size_t>(params.n))};
  tasks.parallel_for(tasks.context,
                     static_cast<std::size_t>((params.n + kRowsPerTask - 1) / kRowsPerTask),
                     Job::task, &job);
  QuantizeError total;
  for (const QuantizeError& row : job.row_errors) {
    total.squared_error += row.squared_error;
    total.squared_norm += row.squared_norm;
  }
  for (const float scale : buffers.scales) {
    if (!std::isfinite(scale)) {
      return invalid_argument("quantize: a weight is too large for scales of type ",
                              params.scale_type);
    }
  }
  return total;
}

}  // namespace dovetail
