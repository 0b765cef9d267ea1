// SPDX-License-Identifier: Apache-2.0
// Four fp32 lanes as compiler vectors, for any CPU: the primitives that src/cpu/lanes is written
// in. Narrow formats are converted in software. Internal linkage throughout.
#pragma once

#include <cstdint>

#include "layout/narrow_float.h"

namespace dovetail {
namespace {

typedef float Vec __attribute__((vector_size(16)));
typedef std::int32_t IntVec __attribute__((vector_size(16)));
constexpr int kLanes = 4;
constexpr int kRegisters = 16;

DOVETAIL_ALWAYS_INLINE Vec zero() {
  return Vec{};
}
DOVETAIL_ALWAYS_INLINE Vec splat(float x) {
  return Vec{x, x, x, x};
}
DOVETAIL_ALWAYS_INLINE Vec add(Vec a, Vec b) {
  return a + b;
}
DOVETAIL_ALWAYS_INLINE Vec sub(Vec a, Vec b) {
  return a - b;
}
DOVETAIL_ALWAYS_INLINE Vec mul(Vec a, Vec b) {
  return a * b;
}
DOVETAIL_ALWAYS_INLINE Vec divide(Vec a, Vec b) {
  return a / b;
}
DOVETAIL_ALWAYS_INLINE Vec fma(Vec a, Vec b, Vec c) {
  return a * b + c;
}
// a > b ? a : b, so a NaN in b survives.
DOVETAIL_ALWAYS_INLINE Vec larger(Vec a, Vec b) {
  return a > b ? a : b;
}
DOVETAIL_ALWAYS_INLINE Vec magnitude(Vec a) {
  return reinterpret_cast<Vec>(reinterpret_cast<IntVec>(a) & 0x7fffffff);
}
DOVETAIL_ALWAYS_INLINE Vec with_sign_of(Vec magnitude, Vec sign) {
  return reinterpret_cast<Vec>(reinterpret_cast<IntVec>(magnitude) |
                               (reinterpret_cast<IntVec>(sign) & INT32_MIN));
}
// a < b ? x : y
DOVETAIL_ALWAYS_INLINE Vec where_below(Vec a, Vec b, Vec x, Vec y) {
  return a < b ? x : y;
}
// Adding 1.5 * 2^23 leaves the nearest integer in the low bits; |a| < 2^22.
DOVETAIL_ALWAYS_INLINE Vec nearest(Vec a) {
  const Vec shift = splat(12582912.0f);
  return (a + shift) - shift;
}
// The nearest integer to x <= 0, but at least -127, and in `rest` the difference to it.
DOVETAIL_ALWAYS_INLINE Vec whole_power(Vec x, Vec* rest) {
  const Vec enough = larger(splat(-127.0f), x);
  const Vec n = nearest(enough);
  *rest = sub(enough, n);
  return n;
}
// x * 2^n for a whole_power n; x in [0.7, 1.5]. At -127 the exponent's bits are 0: so is 1 * 2^n.
DOVETAIL_ALWAYS_INLINE Vec times_power(Vec x, Vec n) {
  const IntVec bits = __builtin_convertvector(n, IntVec) << 23;
  return reinterpret_cast<Vec>(reinterpret_cast<IntVec>(x) + bits);
}

struct Half {
  std::uint16_t bits;
};
struct Brain {
  std::uint16_t bits;
};
struct E4m3 {
  std::uint8_t bits;
};

DOVETAIL_ALWAYS_INLINE float widen(Half x) {
  return half_to_float(x.bits);
}
DOVETAIL_ALWAYS_INLINE float widen(Brain x) {
  return bfloat16_to_float(x.bits);
}
DOVETAIL_ALWAYS_INLINE float widen(E4m3 x) {
  return e4m3_to_float(x.bits);
}

DOVETAIL_ALWAYS_INLINE Vec load(const float* p) {
  Vec x;
  __builtin_memcpy(&x, p, sizeof(x));
  return x;
}
template <class T>
DOVETAIL_ALWAYS_INLINE Vec load(const T* p) {
  return Vec{widen(p[0]), widen(p[1]), widen(p[2]), widen(p[3])};
}
DOVETAIL_ALWAYS_INLINE void store(float* p, Vec x) {
  __builtin_memcpy(p, &x, sizeof(x));
}
DOVETAIL_ALWAYS_INLINE void store(Half* p, Vec x) {
  for (int i = 0; i < kLanes; ++i) {
    p[i].bits = float_to_half(x[i]);
  }
}
DOVETAIL_ALWAYS_INLINE void store(Brain* p, Vec x) {
  for (int i = 0; i < kLanes; ++i) {
    p[i].bits = float_to_bfloat16(x[i]);
  }
}
DOVETAIL_ALWAYS_INLINE void store(E4m3* p, Vec x) {
  for (int i = 0; i < kLanes; ++i) {
    p[i].bits = float_to_e4m3(x[i]);
  }
}

DOVETAIL_ALWAYS_INLINE float sum(Vec x) {
  return (x[0] + x[2]) + (x[1] + x[3]);
}
// Sums of eight vectors, in order.
DOVETAIL_ALWAYS_INLINE void sum_eight(const Vec* x, float* out) {
  for (int i = 0; i < 8; ++i) {
    out[i] = sum(x[i]);
  }
}
// Lane i: the sum of x[i], of four vectors.
DOVETAIL_ALWAYS_INLINE Vec sums_of(const Vec* x) {
  return Vec{sum(x[0]), sum(x[1]), sum(x[2]), sum(x[3])};
}
// A quarter of the vector is one lane.
DOVETAIL_ALWAYS_INLINE Vec largest_of_quarters(Vec x) {
  return x;
}
DOVETAIL_ALWAYS_INLINE Vec sum_of_quarters(Vec x) {
  return x;
}
DOVETAIL_ALWAYS_INLINE Vec spread(const float* four) {
  return load(four);
}
DOVETAIL_ALWAYS_INLINE void first_of_quarters(Vec x, float* four) {
  store(four, x);
}
DOVETAIL_ALWAYS_INLINE float largest(Vec x) {
  float top = x[0];
  for (int i = 1; i < kLanes; ++i) {
    top = top > x[i] ? top : x[i];
  }
  return top;
}
DOVETAIL_ALWAYS_INLINE void transpose(Vec* r) {
  for (int i = 0; i < kLanes; ++i) {
    for (int j = 0; j < i; ++j) {
      const float x = r[i][j];
      r[i][j] = r[j][i];
      r[j][i] = x;
    }
  }
}
DOVETAIL_ALWAYS_INLINE void prefetch(const void* p) {
  __builtin_prefetch(p);
}

}  // namespace
}  // namespace dovetail
