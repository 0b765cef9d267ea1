// SPDX-License-Identifier: Apache-2.0
#include "simt/tensor_core.h"

#include <algorithm>
#include <cmath>

#include "layout/narrow_float.h"

namespace dovetail::simt {
namespace {

constexpr int kAtOnce = 16, kFraction = 25;

double power_of_two(int exponent) {
  return std::bit_cast<double>(static_cast<uint64_t>(exponent + 1023) << 52);
}

// Toward zero (subnormals included), and never to -0: seen on sm_90.
float cut_to_float(double v) {
  const auto near = static_cast<float>(v);
  const bool away = std::fabs(near) > std::fabs(v) && std::fabs(v) < 0x1p128;
  return std::bit_cast<float>(std::bit_cast<uint32_t>(near) - uint32_t{away}) + 0.0f;
}

// Finite terms cannot change an infinite or undefined sum.
float special_sum(const Row& a, const Row& b, int depth, float accumulator) {
  double sum = std::isfinite(accumulator) ? 0.0 : accumulator;
  for (int k = 0; k < depth; ++k) {
    const double product = a.value[k] * b.value[k];
    if (!std::isfinite(product)) sum += product;
  }
  return canonical(static_cast<float>(sum));
}

}  // namespace

void Row::set(int k, Format format, uint32_t bits) {
  const float v = format == Format::kHalf       ? half_to_float(static_cast<uint16_t>(bits))
                  : format == Format::kBFloat16 ? bfloat16_to_float(static_cast<uint16_t>(bits))
                                                : e4m3_to_float(static_cast<uint8_t>(bits));
  // E4m3 is widened to half on sm_90, where all of it is normal.
  const int smallest = format == Format::kBFloat16 ? -126 : -14;
  const int field = static_cast<int>(std::bit_cast<uint32_t>(v) >> 23 & 255);
  value[k] = v;
  exponent[k] = v == 0 ? kZeroExponent : std::max(field - 127, smallest);
  finite = finite && field != 255;
}

float dot(const Row& a, const Row& b, int depth, float accumulator) {
  if (!std::isfinite(accumulator) || !a.finite || !b.finite) {
    return special_sum(a, b, depth, accumulator);
  }
  for (int begin = 0; begin < depth; begin += kAtOnce) {
    const int end = begin + kAtOnce;
    const int field = static_cast<int>(std::bit_cast<uint32_t>(accumulator) >> 23 & 255);
    int largest = accumulator == 0 ? kZeroExponent : std::max(field, 1) - 127;
    for (int k = begin; k < end; ++k) largest = std::max(largest, a.exponent[k] + b.exponent[k]);
    if (largest <= kZeroExponent + 1024) {  // nothing but zeros: padding
      accumulator = 0;
      continue;
    }
    // Scaled so that the last bit kept weighs 1; conversion to an integer cuts toward zero. A term
    // is below 2^(kFraction + 2), so it fits.
    const double scale = power_of_two(kFraction - largest);
    int64_t sum = static_cast<int32_t>(accumulator * scale);
    for (int k = begin; k < end; ++k) sum += static_cast<int32_t>(a.value[k] * b.value[k] * scale);
    accumulator = cut_to_float(static_cast<double>(sum) * power_of_two(largest - kFraction));
  }
  return accumulator;
}

}  // namespace dovetail::simt
