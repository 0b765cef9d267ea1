// SPDX-License-Identifier: Apache-2.0
// Eight fp32 lanes for the AVX2 tier (AVX2, FMA, F16C): the primitives that src/cpu/lanes is
// written in. Internal linkage throughout: every tier object keeps its own copy.
#pragma once

#include <immintrin.h>

#include <cstdint>

#include "layout/narrow_float.h"

namespace dovetail {
namespace {

using Vec = __m256;
constexpr int kLanes = 8;
constexpr int kRegisters = 16;

DOVETAIL_ALWAYS_INLINE Vec zero() {
  return _mm256_setzero_ps();
}
DOVETAIL_ALWAYS_INLINE Vec splat(float x) {
  return _mm256_set1_ps(x);
}
DOVETAIL_ALWAYS_INLINE Vec add(Vec a, Vec b) {
  return _mm256_add_ps(a, b);
}
DOVETAIL_ALWAYS_INLINE Vec sub(Vec a, Vec b) {
  return _mm256_sub_ps(a, b);
}
DOVETAIL_ALWAYS_INLINE Vec mul(Vec a, Vec b) {
  return _mm256_mul_ps(a, b);
}
DOVETAIL_ALWAYS_INLINE Vec divide(Vec a, Vec b) {
  return _mm256_div_ps(a, b);
}
DOVETAIL_ALWAYS_INLINE Vec fma(Vec a, Vec b, Vec c) {
  return _mm256_fmadd_ps(a, b, c);
}
// a > b ? a : b, so a NaN in b survives.
DOVETAIL_ALWAYS_INLINE Vec larger(Vec a, Vec b) {
  return _mm256_max_ps(a, b);
}
DOVETAIL_ALWAYS_INLINE Vec magnitude(Vec a) {
  return _mm256_andnot_ps(splat(-0.0f), a);
}
DOVETAIL_ALWAYS_INLINE Vec with_sign_of(Vec magnitude, Vec sign) {
  return _mm256_or_ps(magnitude, _mm256_and_ps(sign, splat(-0.0f)));
}
// a < b ? x : y
DOVETAIL_ALWAYS_INLINE Vec where_below(Vec a, Vec b, Vec x, Vec y) {
  return _mm256_blendv_ps(y, x, _mm256_cmp_ps(a, b, _CMP_LT_OQ));
}
DOVETAIL_ALWAYS_INLINE Vec nearest(Vec a) {
  return _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
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
  const __m256i bits = _mm256_slli_epi32(_mm256_cvtps_epi32(n), 23);
  return _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(x), bits));
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

DOVETAIL_ALWAYS_INLINE Vec load(const float* p) {
  return _mm256_loadu_ps(p);
}
DOVETAIL_ALWAYS_INLINE Vec load(const Half* p) {
  return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}
DOVETAIL_ALWAYS_INLINE Vec load(const Brain* p) {
  const __m128i bits = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bits), 16));
}
// E4M3 bits placed as binary16 are the value times 2^-8, subnormals included; 0x7f is NaN.
DOVETAIL_ALWAYS_INLINE Vec load(const E4m3* p) {
  const __m128i wide = _mm_cvtepu8_epi16(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)));
  const __m128i magnitude_bits = _mm_slli_epi16(_mm_and_si128(wide, _mm_set1_epi16(0x7f)), 7);
  const __m128i sign = _mm_slli_epi16(_mm_and_si128(wide, _mm_set1_epi16(0x80)), 8);
  const __m128i nan = _mm_and_si128(_mm_cmpeq_epi16(magnitude_bits, _mm_set1_epi16(0x3f80)),
                                    _mm_set1_epi16(0x7c00));
  const __m128i half = _mm_or_si128(_mm_or_si128(magnitude_bits, sign), nan);
  return _mm256_mul_ps(_mm256_cvtph_ps(half), splat(256.0f));
}

DOVETAIL_ALWAYS_INLINE void store(float* p, Vec x) {
  _mm256_storeu_ps(p, x);
}
DOVETAIL_ALWAYS_INLINE void store(Half* p, Vec x) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm256_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT));
}
// To the nearest, ties to even.
DOVETAIL_ALWAYS_INLINE void store(Brain* p, Vec x) {
  const __m256i bits = _mm256_castps_si256(x);
  const __m256i upper = _mm256_srli_epi32(bits, 16);
  const __m256i half =
      _mm256_add_epi32(_mm256_and_si256(upper, _mm256_set1_epi32(1)), _mm256_set1_epi32(0x7fff));
  const __m256i rounded = _mm256_srli_epi32(_mm256_add_epi32(bits, half), 16);
  const __m256i nan = _mm256_castps_si256(_mm256_cmp_ps(x, x, _CMP_UNORD_Q));
  const __m256i quiet = _mm256_or_si256(upper, _mm256_set1_epi32(0x40));
  const __m256i words = _mm256_blendv_epi8(rounded, quiet, nan);
  _mm_storeu_si128(
      reinterpret_cast<__m128i*>(p),
      _mm_packus_epi32(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1)));
}
DOVETAIL_ALWAYS_INLINE void store(E4m3* p, Vec x) {
  for (int i = 0; i < kLanes; ++i) {
    p[i].bits = float_to_e4m3(x[i]);
  }
}

DOVETAIL_ALWAYS_INLINE float sum(Vec x) {
  const __m128 half = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
  const __m128 pair = _mm_add_ps(half, _mm_movehl_ps(half, half));
  return _mm_cvtss_f32(_mm_add_ss(pair, _mm_shuffle_ps(pair, pair, 1)));
}
// Lane i: the sum of x[i], of eight vectors.
DOVETAIL_ALWAYS_INLINE Vec sums_of(const Vec* x) {
  const Vec a = _mm256_hadd_ps(_mm256_hadd_ps(x[0], x[1]), _mm256_hadd_ps(x[2], x[3]));
  const Vec b = _mm256_hadd_ps(_mm256_hadd_ps(x[4], x[5]), _mm256_hadd_ps(x[6], x[7]));
  const Vec low = _mm256_permute2f128_ps(a, b, 0x20);
  const Vec high = _mm256_permute2f128_ps(a, b, 0x31);
  return _mm256_add_ps(low, high);
}
DOVETAIL_ALWAYS_INLINE void sum_eight(const Vec* x, float* out) {
  _mm256_storeu_ps(out, sums_of(x));
}
// In both lanes of a quarter of the vector: the larger one, or their sum.
DOVETAIL_ALWAYS_INLINE Vec largest_of_quarters(Vec x) {
  return larger(x, _mm256_permute_ps(x, 0xb1));
}
DOVETAIL_ALWAYS_INLINE Vec sum_of_quarters(Vec x) {
  return add(x, _mm256_permute_ps(x, 0xb1));
}
// Four floats, a quarter of the vector each; and back.
DOVETAIL_ALWAYS_INLINE Vec spread(const float* four) {
  return _mm256_permutevar8x32_ps(_mm256_castps128_ps256(_mm_loadu_ps(four)),
                                  _mm256_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3));
}
DOVETAIL_ALWAYS_INLINE void first_of_quarters(Vec x, float* four) {
  const Vec firsts = _mm256_permutevar8x32_ps(x, _mm256_setr_epi32(0, 2, 4, 6, 0, 2, 4, 6));
  _mm_storeu_ps(four, _mm256_castps256_ps128(firsts));
}
DOVETAIL_ALWAYS_INLINE float largest(Vec x) {
  const __m128 half = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
  const __m128 pair = _mm_max_ps(half, _mm_movehl_ps(half, half));
  return _mm_cvtss_f32(_mm_max_ss(pair, _mm_shuffle_ps(pair, pair, 1)));
}

DOVETAIL_ALWAYS_INLINE void transpose(Vec* r) {
  Vec t[8];
  for (int i = 0; i < 8; i += 2) {
    t[i] = _mm256_unpacklo_ps(r[i], r[i + 1]);
    t[i + 1] = _mm256_unpackhi_ps(r[i], r[i + 1]);
  }
  Vec u[8];
  for (int i = 0; i < 8; i += 4) {
    u[i] = _mm256_shuffle_ps(t[i], t[i + 2], 0x44);
    u[i + 1] = _mm256_shuffle_ps(t[i], t[i + 2], 0xee);
    u[i + 2] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0x44);
    u[i + 3] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0xee);
  }
  for (int i = 0; i < 4; ++i) {
    r[i] = _mm256_permute2f128_ps(u[i], u[i + 4], 0x20);
    r[i + 4] = _mm256_permute2f128_ps(u[i], u[i + 4], 0x31);
  }
}

DOVETAIL_ALWAYS_INLINE void prefetch(const void* p) {
  _mm_prefetch(static_cast<const char*>(p), _MM_HINT_T0);
}

}  // namespace
}  // namespace dovetail
