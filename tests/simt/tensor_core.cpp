// SPDX-License-Identifier: Apache-2.0
#include "simt/tensor_core.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "layout/narrow_float.h"

namespace dovetail::simt {
namespace {

double power_of_two(int exponent) {
  return std::bit_cast<double>(static_cast<uint64_t>(exponent + 1023) << 52);
}

// value * 2^scale cut toward zero to fp32 (subnormals included).
float cut_to_float(int64_t value, int scale) {
  if (value == 0) return 0.0f;
  const uint32_t sign = value < 0 ? 0x80000000u : 0;
  uint64_t magnitude = static_cast<uint64_t>(value < 0 ? -value : value);
  const int top = 63 - std::countl_zero(magnitude);
  if (top + scale > 127) return std::bit_cast<float>(sign | 0x7f800000u);
  const int lowest = std::max(top + scale - 23, -149);  // weight of the last bit kept
  const int drop = lowest - scale;
  if (drop > top) return 0.0f;  // and not -0: seen on sm_90
  magnitude = drop >= 0 ? magnitude >> drop : magnitude << -drop;
  if (magnitude < 0x800000u) return std::bit_cast<float>(sign | static_cast<uint32_t>(magnitude));
  return std::bit_cast<float>(sign | static_cast<uint32_t>(lowest + 150) << 23 |
                              (static_cast<uint32_t>(magnitude) & 0x7fffffu));
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
  float v = 0;
  int smallest = -14;  // of half; E4m3 is widened to half on sm_90, where all of it is normal
  if (format == Format::kHalf) v = half_to_float(static_cast<uint16_t>(bits));
  if (format == Format::kBFloat16) {
    v = bfloat16_to_float(static_cast<uint16_t>(bits));
    smallest = -126;
  }
  if (format == Format::kE4m3) v = e4m3_to_float(static_cast<uint8_t>(bits));
  const int field = static_cast<int>(std::bit_cast<uint32_t>(v) >> 23 & 255);
  value[k] = v;
  exponent[k] = v == 0 ? kZeroExponent : std::max(field - 127, smallest);
  finite = finite && field != 255;
}

float dot(const TensorCore& core, const Row& a, const Row& b, int depth, float accumulator) {
  if (!std::isfinite(accumulator) || !a.finite || !b.finite) {
    return special_sum(a, b, depth, accumulator);
  }
  for (int begin = 0; begin < depth; begin += core.block) {
    const int end = begin + core.block;
    const int field = static_cast<int>(std::bit_cast<uint32_t>(accumulator) >> 23 & 255);
    int largest = accumulator == 0 ? kZeroExponent : std::max(field, 1) - 127;
    for (int k = begin; k < end; ++k) largest = std::max(largest, a.exponent[k] + b.exponent[k]);
    if (largest <= kZeroExponent + 1024) {
      accumulator = 0;
      continue;
    }
    // Scaled so that the last bit kept weighs 1; conversion to an integer cuts toward zero. A term
    // is below 2^(fraction + 2), so it fits.
    const double scale = power_of_two(core.fraction - largest);
    int64_t sum = static_cast<int32_t>(accumulator * scale);
    for (int k = begin; k < end; ++k) sum += static_cast<int32_t>(a.value[k] * b.value[k] * scale);
    accumulator = cut_to_float(sum, largest - core.fraction);
  }
  return accumulator;
}

}  // namespace dovetail::simt
