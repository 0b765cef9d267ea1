// SPDX-License-Identifier: Apache-2.0
// Storage types Half, BFloat16 and E4m3, their conversions (round to nearest even unless said),
// packed arithmetic on two 16-bit numbers in one 32-bit register (element 0 in the low half), and
// the bit manipulation that int4 and fp8 decoding lives on.
#pragma once

#include <bit>

#include "cuda/ptx/platform.cuh"
#if defined(DOVETAIL_SIMT_HOST)
#include <cmath>

#include "layout/narrow_float.h"
#endif

namespace dovetail::ptx {

struct Half {
  uint16_t bits;
};
struct BFloat16 {
  uint16_t bits;
};
struct E4m3 {  // 1 sign, 4 exponent (bias 7), 3 mantissa bits; no infinity, 0x7f is NaN, largest
               // 448
  uint8_t bits;
};

template <class T>
inline constexpr bool kIsHalf = std::is_same_v<T, Half>;

#if defined(DOVETAIL_SIMT_HOST)
// The twins' arithmetic. Rounding is that of layout/narrow_float.h; a GPU's conversions give one
// NaN, and its fast functions take and give zero, with its sign, for a subnormal number.
template <class T>
DOVETAIL_DEVICE uint32_t narrow(float v) {
  if (v != v) return 0x7fff;
  return kIsHalf<T> ? float_to_half(v) : float_to_bfloat16(v);
}

DOVETAIL_DEVICE float flush(float v) {
  return std::fabs(v) < 0x1p-126f ? std::copysign(0.0f, v) : v;
}

// `rounded`, which is `rest` below the exact value, rounded to odd instead of to nearest: a further
// rounding to fewer bits then sees whether anything was cut.
template <class Bits, class Float>
DOVETAIL_DEVICE Float to_odd(Float rounded, double rest) {
  if (rest == 0 || !std::isfinite(rounded) || (std::bit_cast<Bits>(rounded) & 1) != 0) {
    return rounded;
  }
  return std::nextafter(rounded, static_cast<Float>(rest > 0 ? INFINITY : -INFINITY));
}

// a * b + c with one rounding; the product is exact in double.
template <class T>
DOVETAIL_DEVICE uint32_t fused(float a, float b, float c) {
  const double product = double{a} * b, near = product + c, part = near - product;
  const double sum = to_odd<uint64_t>(near, (product - (near - part)) + (c - part));
  const auto single = static_cast<float>(sum);
  return narrow<T>(to_odd<uint32_t>(single, sum - static_cast<double>(single)));
}
#endif

// Two floats to a register of two T; a finite value beyond the range becomes infinity.
template <class T>
DOVETAIL_DEVICE uint32_t pack2(float low, float high) {
#if defined(DOVETAIL_SIMT_HOST)
  return narrow<T>(low) | narrow<T>(high) << 16;
#else
  uint32_t r;
  if constexpr (kIsHalf<T>) {
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(high), "f"(low));
  } else {
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(high), "f"(low));
  }
  return r;
#endif
}

template <class T>
DOVETAIL_DEVICE T round_to(float v) {
  return T{static_cast<uint16_t>(pack2<T>(v, 0.0f))};
}

DOVETAIL_DEVICE float to_float(Half v) {
#if defined(DOVETAIL_SIMT_HOST)
  const float r = half_to_float(v.bits);
  return r == r ? r : std::bit_cast<float>(0x7fffffffu);
#else
  float r;
  asm("cvt.f32.f16 %0, %1;" : "=f"(r) : "h"(v.bits));
  return r;
#endif
}

DOVETAIL_DEVICE float to_float(BFloat16 v) {
  return std::bit_cast<float>(static_cast<uint32_t>(v.bits) << 16);
}

DOVETAIL_DEVICE float to_float(float v) {
  return v;
}

template <class T>
DOVETAIL_DEVICE Float2 unpack2(uint32_t v) {
  return {to_float(T{static_cast<uint16_t>(v)}), to_float(T{static_cast<uint16_t>(v >> 16)})};
}

// ---- packed arithmetic, one rounding each ----

template <class T>
DOVETAIL_DEVICE uint32_t fma2(uint32_t a, uint32_t b, uint32_t c) {
#if defined(DOVETAIL_SIMT_HOST)
  const Float2 x = unpack2<T>(a), y = unpack2<T>(b), z = unpack2<T>(c);
  return fused<T>(x.x, y.x, z.x) | fused<T>(x.y, y.y, z.y) << 16;
#else
  uint32_t r;
  if constexpr (kIsHalf<T>) {
    asm("fma.rn.f16x2 %0, %1, %2, %3;" : "=r"(r) : "r"(a), "r"(b), "r"(c));
  } else {
    asm("fma.rn.bf16x2 %0, %1, %2, %3;" : "=r"(r) : "r"(a), "r"(b), "r"(c));
  }
  return r;
#endif
}

// sm_80 has no bf16 add, sub or mul: each is written as the fma that rounds the same.
template <class T>
DOVETAIL_DEVICE uint32_t sub2(uint32_t a, uint32_t b) {
  constexpr uint32_t kMinusOne = kIsHalf<T> ? 0xbc00bc00u : 0xbf80bf80u;
  return fma2<T>(b, kMinusOne, a);
}

template <class T>
DOVETAIL_DEVICE uint32_t mul2(uint32_t a, uint32_t b) {
  return fma2<T>(a, b, 0x80008000u);  // + (-0): keeps the sign of a zero product
}

// ---- E4m3 ----

// The conversions below sm_89, compiled everywhere so that the host can test them.
DOVETAIL_DEVICE uint32_t e4m3_in_software(float v) {
  const uint32_t bits = std::bit_cast<uint32_t>(v), sign = (bits >> 24) & 0x80u;
  const uint32_t magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) return 0x7fu;
  if (magnitude >= 0x43e00000u) return sign | 0x7eu;  // 448 and beyond
  if (magnitude < 0x3c800000u) {
    // Below 2^-6, the smallest normal: 2^14 + x is in units of 2^-9, the step of subnormals.
    return sign | (std::bit_cast<uint32_t>(std::bit_cast<float>(magnitude) + 16384.0f) & 0xffu);
  }
  // The mantissa is rounded to 3 bits in place, then the exponent re-biased by 127 - 7.
  const uint32_t rounded = magnitude + 0x7ffffu + ((magnitude >> 20) & 1u);
  return sign | ((rounded >> 20) - (120u << 3));
}

DOVETAIL_DEVICE uint32_t e4m3_to_half2_in_software(uint16_t v) {
  // Byte to the top of each half, exponent and mantissa one bit down: seeeemmm -> s0eeeemmm0000000,
  // a half 2^8 too small (bias 15 against 7), subnormals included; NaN is set by hand.
  const uint32_t wide = (v & 0xffu) << 8 | static_cast<uint32_t>(v & 0xff00u) << 16;
  const uint32_t small = (wide & 0x80008000u) | ((wide & 0x7f007f00u) >> 1);
  uint32_t r = mul2<Half>(small, 0x5c005c00u);  // times 256
  if ((v & 0x7fu) == 0x7fu) r = (r & 0xffff0000u) | 0x7fffu;
  if ((v & 0x7f00u) == 0x7f00u) r = (r & 0xffffu) | 0x7fff0000u;
  return r;
}

// Two floats to two E4m3 (element 0 in the low byte), saturating: beyond 448 is 448, NaN stays.
DOVETAIL_DEVICE uint16_t pack2_e4m3(float low, float high) {
#if DOVETAIL_ARCH >= 89
  uint16_t r;
  asm("cvt.rn.satfinite.e4m3x2.f32 %0, %1, %2;" : "=h"(r) : "f"(high), "f"(low));
  return r;
#else
  return static_cast<uint16_t>(e4m3_in_software(low) | (e4m3_in_software(high) << 8));
#endif
}

// Two E4m3 to two Half in a register; every E4m3 number is a Half number, so this is exact.
DOVETAIL_DEVICE uint32_t e4m3_to_half2(uint16_t v) {
#if defined(DOVETAIL_SIMT_HOST)
  return pack2<Half>(e4m3_to_float(v & 0xff), e4m3_to_float(v >> 8));
#elif DOVETAIL_ARCH >= 89
  uint32_t r;
  asm("cvt.rn.f16x2.e4m3x2 %0, %1;" : "=r"(r) : "h"(v));
  return r;
#else
  return e4m3_to_half2_in_software(v);
#endif
}

// ---- bits and fast functions ----

// Bitwise function of three inputs: bit i of Table is the result for (a, b, c) = the bits of i, a
// high. Write it as f(0xf0, 0xcc, 0xaa): (a & b) | c is lop3<(0xf0 & 0xcc) | 0xaa>.
template <uint8_t Table>
DOVETAIL_DEVICE uint32_t lop3(uint32_t a, uint32_t b, uint32_t c) {
#if defined(DOVETAIL_SIMT_HOST)
  uint32_t r = 0;
  for (int i = 0; i < 8; ++i) {
    if (Table >> i & 1) r |= (i & 4 ? a : ~a) & (i & 2 ? b : ~b) & (i & 1 ? c : ~c);
  }
  return r;
#else
  uint32_t r;
  asm("lop3.b32 %0, %1, %2, %3, %4;" : "=r"(r) : "r"(a), "r"(b), "r"(c), "n"(Table));
  return r;
#endif
}

// Byte i of the result is byte (nibble i of selector) of the eight bytes {b, a}, a holding 0 .. 3;
// bit 3 of the nibble replicates that byte's sign instead.
DOVETAIL_DEVICE uint32_t permute_bytes(uint32_t a, uint32_t b, uint32_t selector) {
#if defined(DOVETAIL_SIMT_HOST)
  uint32_t r = 0;
  for (int i = 0; i < 4; ++i) {
    const uint32_t pick = selector >> (4 * i) & 15;
    const auto byte = static_cast<uint8_t>((pick & 4 ? b : a) >> pick % 4 * 8);
    r |= static_cast<uint32_t>(pick & 8 ? (byte >> 7) * 0xff : byte) << (8 * i);
  }
  return r;
#else
  uint32_t r;
  asm("prmt.b32 %0, %1, %2, %3;" : "=r"(r) : "r"(a), "r"(b), "r"(selector));
  return r;
#endif
}

// 2^v within 2 ulp; flushes subnormal results to zero, 2^-inf = 0. The twins of the four functions
// below are correctly rounded, so a test's tolerance has to allow the hardware's 2 ulp.
DOVETAIL_DEVICE float exp2_fast(float v) {
#if defined(DOVETAIL_SIMT_HOST)
  return flush(static_cast<float>(std::exp2(double{flush(v)})));
#else
  float r;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(r) : "f"(v));
  return r;
#endif
}

// max.f32, one instruction where a > b ? a : b is two; of a number and a NaN the number.
DOVETAIL_DEVICE float larger(float a, float b) {
#if defined(DOVETAIL_SIMT_HOST)
  return a != a || b > a ? b : a;
#else
  return fmaxf(a, b);
#endif
}

DOVETAIL_DEVICE float log2_fast(float v) {
#if defined(DOVETAIL_SIMT_HOST)
  return flush(static_cast<float>(std::log2(double{flush(v)})));
#else
  float r;
  asm("lg2.approx.ftz.f32 %0, %1;" : "=f"(r) : "f"(v));
  return r;
#endif
}

DOVETAIL_DEVICE float reciprocal_fast(float v) {
#if defined(DOVETAIL_SIMT_HOST)
  return flush(1.0f / flush(v));
#else
  float r;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(r) : "f"(v));
  return r;
#endif
}

DOVETAIL_DEVICE float reciprocal_sqrt_fast(float v) {
#if defined(DOVETAIL_SIMT_HOST)
  return flush(static_cast<float>(1.0 / std::sqrt(double{flush(v)})));
#else
  float r;
  asm("rsqrt.approx.ftz.f32 %0, %1;" : "=f"(r) : "f"(v));
  return r;
#endif
}

}  // namespace dovetail::ptx
