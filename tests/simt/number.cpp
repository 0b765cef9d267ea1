// SPDX-License-Identifier: Apache-2.0
// Number formats and the scalar instructions, bit for bit where the instruction is exact. A GPU's
// conversions give one NaN; rounding is that of layout/narrow_float.h (number_test judges it).
#include <bit>
#include <cmath>

#include "layout/narrow_float.h"
#include "simt/model.h"

namespace dovetail::simt {

float half_to_float(uint16_t half) {
  const float value = dovetail::half_to_float(half);
  return std::isnan(value) ? std::bit_cast<float>(0x7fffffffu) : value;
}
uint16_t float_to_half(float value) {
  return std::isnan(value) ? 0x7fff : dovetail::float_to_half(value);
}
float bfloat_to_float(uint16_t bfloat) {
  return bfloat16_to_float(bfloat);
}
uint16_t float_to_bfloat(float value) {
  return std::isnan(value) ? 0x7fff : float_to_bfloat16(value);
}
float e4m3_to_float(uint8_t e4m3) {
  return dovetail::e4m3_to_float(e4m3);
}
uint8_t float_to_e4m3(float value) {
  return std::isnan(value) ? 0x7f : dovetail::float_to_e4m3(value);
}

uint32_t pack_half2(float low, float high) {
  return float_to_half(low) | static_cast<uint32_t>(float_to_half(high)) << 16;
}

uint32_t pack_bfloat2(float low, float high) {
  return float_to_bfloat(low) | static_cast<uint32_t>(float_to_bfloat(high)) << 16;
}

uint16_t pack_e4m3x2(float low, float high) {
  return static_cast<uint16_t>(float_to_e4m3(low) | float_to_e4m3(high) << 8);
}

uint32_t e4m3x2_to_half2(uint16_t pair) {
  return pack_half2(e4m3_to_float(pair & 0xff), e4m3_to_float(pair >> 8));
}

namespace {
// `rounded`, which is `rest` below the exact value, rounded to odd instead of to nearest: a further
// rounding to fewer bits then sees whether anything was cut.
template <class Bits, class Float>
Float to_odd(Float rounded, double rest) {
  if (rest == 0 || !std::isfinite(rounded) || (std::bit_cast<Bits>(rounded) & 1) != 0) {
    return rounded;
  }
  return std::nextafter(rounded, static_cast<Float>(rest > 0 ? INFINITY : -INFINITY));
}
}  // namespace

uint32_t fma2(Format format, uint32_t a, uint32_t b, uint32_t c) {
  const bool half = format == Format::kHalf;
  uint32_t result = 0;
  for (int shift = 0; shift < 32; shift += 16) {
    const auto widen = [&](uint32_t pair) {
      const auto bits = static_cast<uint16_t>(pair >> shift);
      return double{half ? half_to_float(bits) : bfloat_to_float(bits)};
    };
    const double product = widen(a) * widen(b), addend = widen(c);  // the product is exact
    const double near = product + addend, part = near - product;
    const double sum = to_odd<uint64_t>(near, (product - (near - part)) + (addend - part));
    const auto narrow = static_cast<float>(sum);
    const float odd = to_odd<uint32_t>(narrow, sum - static_cast<double>(narrow));
    result |= uint32_t{half ? float_to_half(odd) : float_to_bfloat(odd)} << shift;
  }
  return result;
}

uint32_t lop3(uint8_t table, uint32_t a, uint32_t b, uint32_t c) {
  uint32_t result = 0;
  for (int i = 0; i < 8; ++i) {
    if ((table >> i & 1) == 0) continue;
    result |= (i & 4 ? a : ~a) & (i & 2 ? b : ~b) & (i & 1 ? c : ~c);
  }
  return result;
}

uint32_t permute_bytes(uint32_t a, uint32_t b, uint32_t selector) {
  const uint64_t bytes = static_cast<uint64_t>(b) << 32 | a;
  uint32_t result = 0;
  for (int i = 0; i < 4; ++i) {
    const uint32_t pick = selector >> (4 * i) & 15;
    uint32_t byte = static_cast<uint32_t>(bytes >> (8 * (pick & 7))) & 0xff;
    if (pick & 8) byte = byte & 0x80 ? 0xff : 0;
    result |= byte << (8 * i);
  }
  return result;
}

namespace {
// .ftz: subnormal inputs and results count as zero, keeping their sign.
float flush(float v) {
  return std::fabs(v) < 0x1p-126f ? std::copysign(0.0f, v) : v;
}
}  // namespace

float exp2_fast(float value) {
  return flush(static_cast<float>(std::exp2(static_cast<double>(flush(value)))));
}
float log2_fast(float value) {
  return flush(static_cast<float>(std::log2(static_cast<double>(flush(value)))));
}
float reciprocal_fast(float value) {
  return flush(1.0f / flush(value));
}
float reciprocal_sqrt_fast(float value) {
  return flush(static_cast<float>(1.0 / std::sqrt(static_cast<double>(flush(value)))));
}

}  // namespace dovetail::simt
