// SPDX-License-Identifier: Apache-2.0
// Sixteen fp32 lanes for the AVX-512 tier (F, BW, VL, DQ): the primitives that src/cpu/lanes is
// written in. Internal linkage throughout: every tier object keeps its own copy.
#pragma once

#include <immintrin.h>

#include <cstdint>

#include "layout/narrow_float.h"

namespace dovetail {
namespace {

using Vec = __m512;
constexpr int kLanes = 16;
constexpr int kRegisters = 32;

DOVETAIL_ALWAYS_INLINE Vec zero() {
  return _mm512_setzero_ps();
}
DOVETAIL_ALWAYS_INLINE Vec splat(float x) {
  return _mm512_set1_ps(x);
}
DOVETAIL_ALWAYS_INLINE Vec add(Vec a, Vec b) {
  return _mm512_add_ps(a, b);
}
DOVETAIL_ALWAYS_INLINE Vec sub(Vec a, Vec b) {
  return _mm512_sub_ps(a, b);
}
DOVETAIL_ALWAYS_INLINE Vec mul(Vec a, Vec b) {
  return _mm512_mul_ps(a, b);
}
DOVETAIL_ALWAYS_INLINE Vec divide(Vec a, Vec b) {
  return _mm512_div_ps(a, b);
}
DOVETAIL_ALWAYS_INLINE Vec fma(Vec a, Vec b, Vec c) {
  return _mm512_fmadd_ps(a, b, c);
}
// a > b ? a : b, so a NaN in b survives.
DOVETAIL_ALWAYS_INLINE Vec larger(Vec a, Vec b) {
  return _mm512_max_ps(a, b);
}
DOVETAIL_ALWAYS_INLINE Vec magnitude(Vec a) {
  return _mm512_abs_ps(a);
}
DOVETAIL_ALWAYS_INLINE Vec with_sign_of(Vec magnitude, Vec sign) {
  return _mm512_or_ps(magnitude, _mm512_and_ps(sign, splat(-0.0f)));
}
// a < b ? x : y
DOVETAIL_ALWAYS_INLINE Vec where_below(Vec a, Vec b, Vec x, Vec y) {
  return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(a, b, _CMP_LT_OQ), y, x);
}
DOVETAIL_ALWAYS_INLINE Vec nearest(Vec a) {
  return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
// The nearest integer to x <= 0, and in `rest` the difference, 0 for -infinity.
DOVETAIL_ALWAYS_INLINE Vec whole_power(Vec x, Vec* rest) {
  *rest = _mm512_reduce_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  return nearest(x);
}
// x * 2^n for a whole_power n; x in [0.7, 1.5].
DOVETAIL_ALWAYS_INLINE Vec times_power(Vec x, Vec n) {
  return _mm512_scalef_ps(x, n);
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
  return _mm512_loadu_ps(p);
}
DOVETAIL_ALWAYS_INLINE Vec load(const Half* p) {
  return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}
DOVETAIL_ALWAYS_INLINE Vec load(const Brain* p) {
  const __m256i bits = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16));
}
// E4M3 bits placed as binary16 are the value times 2^-8, subnormals included; 0x7f is NaN.
DOVETAIL_ALWAYS_INLINE Vec load(const E4m3* p) {
  const __m256i wide = _mm256_cvtepu8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  const __m256i magnitude_bits =
      _mm256_slli_epi16(_mm256_and_si256(wide, _mm256_set1_epi16(0x7f)), 7);
  const __m256i sign = _mm256_slli_epi16(_mm256_and_si256(wide, _mm256_set1_epi16(0x80)), 8);
  const __m256i nan = _mm256_and_si256(
      _mm256_cmpeq_epi16(magnitude_bits, _mm256_set1_epi16(0x3f80)), _mm256_set1_epi16(0x7c00));
  const __m256i half = _mm256_or_si256(_mm256_or_si256(magnitude_bits, sign), nan);
  return _mm512_mul_ps(_mm512_cvtph_ps(half), splat(256.0f));
}

DOVETAIL_ALWAYS_INLINE void store(float* p, Vec x) {
  _mm512_storeu_ps(p, x);
}
DOVETAIL_ALWAYS_INLINE void store(Half* p, Vec x) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT));
}
// To the nearest, ties to even, in integers: VCVTNEPS2BF16 takes subnormals for zero.
DOVETAIL_ALWAYS_INLINE void store(Brain* p, Vec x) {
  const __m512i bits = _mm512_castps_si512(x);
  const __m512i upper = _mm512_srli_epi32(bits, 16);
  const __m512i half =
      _mm512_add_epi32(_mm512_and_si512(upper, _mm512_set1_epi32(1)), _mm512_set1_epi32(0x7fff));
  const __m512i rounded = _mm512_srli_epi32(_mm512_add_epi32(bits, half), 16);
  const __mmask16 nan = _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q);
  const __m512i quiet = _mm512_or_si512(upper, _mm512_set1_epi32(0x40));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p),
                      _mm512_cvtepi32_epi16(_mm512_mask_mov_epi32(rounded, nan, quiet)));
}
DOVETAIL_ALWAYS_INLINE void store(E4m3* p, Vec x) {
  for (int i = 0; i < kLanes; ++i) {
    p[i].bits = float_to_e4m3(x[i]);
  }
}

DOVETAIL_ALWAYS_INLINE __m256 halves(Vec x) {
  return _mm256_add_ps(_mm512_castps512_ps256(x), _mm512_extractf32x8_ps(x, 1));
}
DOVETAIL_ALWAYS_INLINE float sum(Vec x) {
  const __m256 y = halves(x);
  const __m128 half = _mm_add_ps(_mm256_castps256_ps128(y), _mm256_extractf128_ps(y, 1));
  const __m128 pair = _mm_add_ps(half, _mm_movehl_ps(half, half));
  return _mm_cvtss_f32(_mm_add_ss(pair, _mm_shuffle_ps(pair, pair, 1)));
}
// Sums of eight vectors, in order.
DOVETAIL_ALWAYS_INLINE void sum_eight(const Vec* x, float* out) {
  const __m256 a = _mm256_hadd_ps(_mm256_hadd_ps(halves(x[0]), halves(x[1])),
                                  _mm256_hadd_ps(halves(x[2]), halves(x[3])));
  const __m256 b = _mm256_hadd_ps(_mm256_hadd_ps(halves(x[4]), halves(x[5])),
                                  _mm256_hadd_ps(halves(x[6]), halves(x[7])));
  const __m256 low = _mm256_permute2f128_ps(a, b, 0x20);
  const __m256 high = _mm256_permute2f128_ps(a, b, 0x31);
  _mm256_storeu_ps(out, _mm256_add_ps(low, high));
}
// Lane i: the sum of x[i], of 16 vectors. Comments: what a 128-bit quarter holds.
DOVETAIL_ALWAYS_INLINE Vec sums_of(const Vec* x) {
  Vec pairs[8];  // a02 b02 a13 b13
  for (int i = 0; i < 8; ++i) {
    pairs[i] =
        add(_mm512_unpacklo_ps(x[2 * i], x[2 * i + 1]), _mm512_unpackhi_ps(x[2 * i], x[2 * i + 1]));
  }
  Vec fours[4];  // a b c d, each of its quarter
  for (int i = 0; i < 4; ++i) {
    fours[i] = add(_mm512_shuffle_ps(pairs[2 * i], pairs[2 * i + 1], 0x44),
                   _mm512_shuffle_ps(pairs[2 * i], pairs[2 * i + 1], 0xee));
  }
  Vec halves_of[2];  // two quarters of the first four, two of the second
  for (int i = 0; i < 2; ++i) {
    halves_of[i] = add(_mm512_shuffle_f32x4(fours[2 * i], fours[2 * i + 1], 0x88),
                       _mm512_shuffle_f32x4(fours[2 * i], fours[2 * i + 1], 0xdd));
  }
  return add(_mm512_shuffle_f32x4(halves_of[0], halves_of[1], 0x88),
             _mm512_shuffle_f32x4(halves_of[0], halves_of[1], 0xdd));
}
// In all lanes of a quarter of the vector: its largest lane, or their sum.
DOVETAIL_ALWAYS_INLINE Vec largest_of_quarters(Vec x) {
  x = larger(x, _mm512_permute_ps(x, 0xb1));
  return larger(x, _mm512_permute_ps(x, 0x4e));
}
DOVETAIL_ALWAYS_INLINE Vec sum_of_quarters(Vec x) {
  x = add(x, _mm512_permute_ps(x, 0xb1));
  return add(x, _mm512_permute_ps(x, 0x4e));
}
// Four floats, a quarter of the vector each; and back.
DOVETAIL_ALWAYS_INLINE Vec spread(const float* four) {
  const __m512i index = _mm512_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3);
  return _mm512_permutexvar_ps(index, _mm512_castps128_ps512(_mm_loadu_ps(four)));
}
DOVETAIL_ALWAYS_INLINE void first_of_quarters(Vec x, float* four) {
  const __m512i index = _mm512_setr_epi32(0, 4, 8, 12, 0, 4, 8, 12, 0, 4, 8, 12, 0, 4, 8, 12);
  _mm_storeu_ps(four, _mm512_castps512_ps128(_mm512_permutexvar_ps(index, x)));
}
DOVETAIL_ALWAYS_INLINE float largest(Vec x) {
  const __m256 y = _mm256_max_ps(_mm512_castps512_ps256(x), _mm512_extractf32x8_ps(x, 1));
  const __m128 half = _mm_max_ps(_mm256_castps256_ps128(y), _mm256_extractf128_ps(y, 1));
  const __m128 pair = _mm_max_ps(half, _mm_movehl_ps(half, half));
  return _mm_cvtss_f32(_mm_max_ss(pair, _mm_shuffle_ps(pair, pair, 1)));
}

DOVETAIL_ALWAYS_INLINE void transpose(Vec* r) {
  Vec t[16];
  for (int i = 0; i < 16; i += 2) {
    t[i] = _mm512_unpacklo_ps(r[i], r[i + 1]);
    t[i + 1] = _mm512_unpackhi_ps(r[i], r[i + 1]);
  }
  Vec u[16];  // u[4q + c]: column c of every 128-bit quarter, rows 4q..4q+3
  for (int i = 0; i < 16; i += 4) {
    u[i] = _mm512_shuffle_ps(t[i], t[i + 2], 0x44);
    u[i + 1] = _mm512_shuffle_ps(t[i], t[i + 2], 0xee);
    u[i + 2] = _mm512_shuffle_ps(t[i + 1], t[i + 3], 0x44);
    u[i + 3] = _mm512_shuffle_ps(t[i + 1], t[i + 3], 0xee);
  }
  for (int c = 0; c < 4; ++c) {
    const Vec a = _mm512_shuffle_f32x4(u[c], u[c + 4], 0x44);       // quarters 0, 1 of rows 0..7
    const Vec b = _mm512_shuffle_f32x4(u[c], u[c + 4], 0xee);       // quarters 2, 3 of rows 0..7
    const Vec e = _mm512_shuffle_f32x4(u[c + 8], u[c + 12], 0x44);  // the same of rows 8..15
    const Vec f = _mm512_shuffle_f32x4(u[c + 8], u[c + 12], 0xee);
    r[c] = _mm512_shuffle_f32x4(a, e, 0x88);
    r[c + 4] = _mm512_shuffle_f32x4(a, e, 0xdd);
    r[c + 8] = _mm512_shuffle_f32x4(b, f, 0x88);
    r[c + 12] = _mm512_shuffle_f32x4(b, f, 0xdd);
  }
}

DOVETAIL_ALWAYS_INLINE void prefetch(const void* p) {
  _mm_prefetch(static_cast<const char*>(p), _MM_HINT_T0);
}

}  // namespace
}  // namespace dovetail
