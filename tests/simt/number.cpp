// SPDX-License-Identifier: Apache-2.0
// Number formats and the scalar instructions, bit for bit where the instruction is exact.
#include <algorithm>
#include <bit>
#include <cmath>

#include "simt/model.h"

namespace dovetail::simt {
namespace {

// A float rounded to nearest even to a format with `mantissa` bits and smallest normal 2^smallest;
// the result counts units of the format's encoding (so a carry runs into the exponent by itself).
// The caller deals with NaN, infinity and overflow.
uint32_t round_magnitude(float magnitude, int mantissa, int smallest) {
  if (magnitude == 0) return 0;
  int exponent = 0;
  std::frexp(magnitude, &exponent);  // magnitude = [0.5, 1) * 2^exponent
  exponent = std::max(exponent - 1, smallest);
  // nearbyint rounds to nearest even; the scaling is exact in double.
  const double units =
      std::nearbyint(std::ldexp(static_cast<double>(magnitude), mantissa - exponent));
  return static_cast<uint32_t>(units) + (static_cast<uint32_t>(exponent - smallest) << mantissa);
}

}  // namespace

float half_to_float(uint16_t half) {
  const uint32_t code = half & 0x7fff;
  if (code > 0x7c00) return std::bit_cast<float>(0x7fffffffu);
  // The same bits read as a float are 2^112 too small, subnormals included.
  const float v = code < 0x7c00 ? std::bit_cast<float>(code << 13) * 0x1p112f : INFINITY;
  return half & 0x8000 ? -v : v;
}

uint16_t float_to_half(float value) {
  if (std::isnan(value)) return 0x7fff;
  const uint16_t sign = std::signbit(value) ? 0x8000 : 0;
  const float magnitude = std::fabs(value);
  if (magnitude >= 65520.0f) return sign | 0x7c00;
  return static_cast<uint16_t>(sign | round_magnitude(magnitude, 10, -14));
}

float bfloat_to_float(uint16_t bfloat) {
  return std::bit_cast<float>(static_cast<uint32_t>(bfloat) << 16);
}

uint16_t float_to_bfloat(float value) {
  if (std::isnan(value)) return 0x7fff;
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  return static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

float e4m3_to_float(uint8_t e4m3) {
  const uint32_t code = e4m3 & 0x7f;
  const float v = code == 0x7f ? std::nanf("") : std::bit_cast<float>(code << 20) * 0x1p120f;
  return e4m3 & 0x80 ? -v : v;
}

uint8_t float_to_e4m3(float value) {
  if (std::isnan(value)) return 0x7f;
  const uint8_t sign = std::signbit(value) ? 0x80 : 0;
  const float magnitude = std::fabs(value);
  if (magnitude >= 448.0f) return sign | 0x7e;
  return static_cast<uint8_t>(sign | round_magnitude(magnitude, 3, -6));
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

uint32_t fma2(Format format, uint32_t a, uint32_t b, uint32_t c) {
  uint32_t result = 0;
  for (int shift = 0; shift < 32; shift += 16) {
    const auto x = static_cast<uint16_t>(a >> shift), y = static_cast<uint16_t>(b >> shift),
               z = static_cast<uint16_t>(c >> shift);
    // A product of two such numbers is exact in double. The sum is then rounded to odd, so that the
    // second rounding, to 16 bits, sees whether anything was cut.
    const bool half = format == Format::kHalf;
    const double product = half ? double{half_to_float(x)} * half_to_float(y)
                                : double{bfloat_to_float(x)} * bfloat_to_float(y);
    const double addend = half ? half_to_float(z) : bfloat_to_float(z);
    double sum = product + addend;
    const double part = sum - product;
    const double rest = (product - (sum - part)) + (addend - part);
    if (rest != 0 && std::isfinite(sum) && (std::bit_cast<uint64_t>(sum) & 1) == 0) {
      sum = std::nextafter(sum, rest > 0 ? INFINITY : -INFINITY);
    }
    float narrow = static_cast<float>(sum);  // again to odd
    if (std::isfinite(narrow) && static_cast<double>(narrow) != sum &&
        (std::bit_cast<uint32_t>(narrow) & 1) == 0) {
      narrow = std::nextafterf(narrow, static_cast<double>(narrow) < sum ? INFINITY : -INFINITY);
    }
    const uint32_t bits = half ? float_to_half(narrow) : float_to_bfloat(narrow);
    result |= bits << shift;
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
