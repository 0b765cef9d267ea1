// SPDX-License-Identifier: Apache-2.0
// Software conversions between float and the 16- and 8-bit float formats, bit exact with the
// hardware's round-to-nearest-even: IEEE 754 binary16, bfloat16, and E4M3 as in "FP8 Formats for
// Deep Learning" (Micikevicius et al. 2022: no infinity, NaN = S.1111.111, largest finite 448;
// conversion saturates). Every function is always-inlined: the tier objects never share a copy.
#pragma once

#include <bit>
#include <cstdint>

#if defined(__CUDACC__)
#define DOVETAIL_ALWAYS_INLINE __host__ __device__ __forceinline__
#else
#define DOVETAIL_ALWAYS_INLINE inline __attribute__((always_inline))
#endif

namespace dovetail {

DOVETAIL_ALWAYS_INLINE constexpr float half_to_float(std::uint16_t h) {
  const std::uint32_t sign = static_cast<std::uint32_t>(h & 0x8000u) << 16;
  const std::uint32_t exponent = h >> 10 & 0x1fu;
  const std::uint32_t mantissa = h & 0x3ffu;
  if (exponent == 0) {  // zero or subnormal: mantissa * 2^-24
    const float value = static_cast<float>(mantissa) * 0x1p-24f;
    return sign ? -value : value;
  }
  const std::uint32_t biased = exponent == 31 ? 255u : exponent + 112u;
  return std::bit_cast<float>(sign | biased << 23 | mantissa << 13);
}

DOVETAIL_ALWAYS_INLINE constexpr std::uint16_t float_to_half(float f) {
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(f);
  const auto sign = static_cast<std::uint16_t>(bits >> 16 & 0x8000u);
  const std::uint32_t magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) {
    return static_cast<std::uint16_t>(sign | 0x7e00u | (magnitude >> 13 & 0x3ffu));
  }
  if (magnitude >= 0x477ff000u) {  // 65520 and above round to infinity
    return static_cast<std::uint16_t>(sign | 0x7c00u);
  }
  if (magnitude < 0x38800000u) {  // below 2^-14: subnormal; 0.5 + x has its last place at 2^-24
    const float shifted = std::bit_cast<float>(magnitude) + 0.5f;
    return static_cast<std::uint16_t>(sign | (std::bit_cast<std::uint32_t>(shifted) & 0x7fffu));
  }
  const std::uint32_t rounded = magnitude + 0xfffu + (magnitude >> 13 & 1u) - 0x38000000u;
  return static_cast<std::uint16_t>(sign | rounded >> 13);
}

DOVETAIL_ALWAYS_INLINE constexpr float bfloat16_to_float(std::uint16_t b) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(b) << 16);
}

DOVETAIL_ALWAYS_INLINE constexpr std::uint16_t float_to_bfloat16(float f) {
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(f);
  if ((bits & 0x7fffffffu) > 0x7f800000u) {
    return static_cast<std::uint16_t>(bits >> 16 | 0x40u);
  }
  return static_cast<std::uint16_t>((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

DOVETAIL_ALWAYS_INLINE constexpr float e4m3_to_float(std::uint8_t e) {
  const std::uint32_t exponent = e >> 3 & 0xfu;
  const std::uint32_t mantissa = e & 0x7u;
  float value = 0.0f;
  if (exponent == 15 && mantissa == 7) {
    value = std::bit_cast<float>(0x7fc00000u);
  } else if (exponent == 0) {
    value = static_cast<float>(mantissa) * 0x1p-9f;
  } else {
    value = std::bit_cast<float>((exponent + 120u) << 23 | mantissa << 20);
  }
  return e & 0x80u ? -value : value;
}

DOVETAIL_ALWAYS_INLINE constexpr std::uint8_t float_to_e4m3(float f) {
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(f);
  const auto sign = static_cast<std::uint8_t>(bits >> 24 & 0x80u);
  const std::uint32_t magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) {
    return static_cast<std::uint8_t>(sign | 0x7fu);
  }
  if (magnitude >= 0x43e00000u) {  // 448 and above saturate
    return static_cast<std::uint8_t>(sign | 0x7eu);
  }
  if (magnitude < 0x3c800000u) {  // below 2^-6: subnormal; 2^14 + x has its last place at 2^-9
    const float shifted = std::bit_cast<float>(magnitude) + 0x1p14f;
    return static_cast<std::uint8_t>(sign | (std::bit_cast<std::uint32_t>(shifted) & 0xfu));
  }
  const std::uint32_t rounded = magnitude + 0x7ffffu + (magnitude >> 20 & 1u) - 0x3c000000u;
  return static_cast<std::uint8_t>(sign | (rounded >> 20 < 0x7eu ? rounded >> 20 : 0x7eu));
}

}  // namespace dovetail
