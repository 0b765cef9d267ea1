// SPDX-License-Identifier: Apache-2.0
// Activations in and out with 256-bit vectors: format conversion, rounding to int8 per row and
// group, and the store with bias. Where packed values lie is the tier's: int4_interleave.h,
// amx/int4_operands.h. For the tiers from avx2 on, each its own copy.
//
// The int8 rule is ops/int4_gemm_reference.h's, operation by operation, so every tier has the same
// int8 values. absmax is a maximum of bit patterns: a NaN is larger than every number and so
// reaches the scale.
#pragma once

#include <immintrin.h>

#include <cstdint>

#include "cpu/int4_gemm_kernels.h"

namespace dovetail::cpu {
namespace {

constexpr float kSmallestAbsmax = 0x1p-100f;

inline __attribute__((always_inline)) __m256 load8(const void* data, FloatFormat format,
                                                   std::int64_t i) {
  if (format == FloatFormat::kFloat32) {
    return _mm256_loadu_ps(static_cast<const float*>(data) + i);
  }
  const __m128i bits = _mm_loadu_si128(
      reinterpret_cast<const __m128i*>(static_cast<const std::uint16_t*>(data) + i));
  if (format == FloatFormat::kFloat16) {
    return _mm256_cvtph_ps(bits);
  }
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bits), 16));
}

// Round to nearest even; a NaN stays one.
inline __attribute__((always_inline)) __m128i to_bfloat16(__m256 values) {
  const __m256i bits = _mm256_castps_si256(values);
  const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
  const __m256i rounded = _mm256_srli_epi32(
      _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff))), 16);
  const __m256i quiet = _mm256_or_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(0x40));
  const __m256i is_nan = _mm256_castps_si256(_mm256_cmp_ps(values, values, _CMP_UNORD_Q));
  const __m256i chosen = _mm256_blendv_epi8(rounded, quiet, is_nan);
  return _mm256_castsi256_si128(
      _mm256_permute4x64_epi64(_mm256_packus_epi32(chosen, chosen), 0x08));
}

inline __attribute__((always_inline)) void store8(void* data, FloatFormat format, std::int64_t i,
                                                  __m256 values) {
  if (format == FloatFormat::kFloat32) {
    _mm256_storeu_ps(static_cast<float*>(data) + i, values);
    return;
  }
  const __m128i bits = format == FloatFormat::kFloat16
                           ? _mm256_cvtps_ph(values, _MM_FROUND_TO_NEAREST_INT)
                           : to_bfloat16(values);
  _mm_storeu_si128(reinterpret_cast<__m128i*>(static_cast<std::uint16_t*>(data) + i), bits);
}

template <class Word>
inline __attribute__((always_inline)) void copy_words(const void* from, void* to, int count) {
  for (int i = 0; i < count; ++i) {
    static_cast<Word*>(to)[i] = static_cast<const Word*>(from)[i];
  }
}

inline __attribute__((always_inline)) void copy_values(const void* from, void* to, int count,
                                                       FloatFormat format) {
  if (format == FloatFormat::kFloat32) {
    copy_words<std::uint32_t>(from, to, count);
  } else {
    copy_words<std::uint16_t>(from, to, count);
  }
}

inline __attribute__((always_inline)) std::int32_t add_lanes(__m256i v) {
  __m128i sum = _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
  sum = _mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0x4e));
  sum = _mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0xb1));
  return _mm_cvtsi128_si32(sum);
}

inline __attribute__((always_inline)) float largest_lane(__m256i v) {
  __m128i m = _mm_max_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
  m = _mm_max_epi32(m, _mm_shuffle_epi32(m, 0x4e));
  m = _mm_max_epi32(m, _mm_shuffle_epi32(m, 0xb1));
  return _mm_cvtss_f32(_mm_castsi128_ps(m));
}

// kPut(task, row, k, bytes) puts k .. k + 31 of a row into the packed activations.
template <auto kPut>
void pack_int8_with(const Int4PackTask& t) {
  const __m256i magnitude = _mm256_set1_epi32(0x7fffffff);
  // packs_epi32 and packs_epi16 work per 128-bit half: the order of dwords is 0 4 1 5 2 6 3 7.
  const __m256i in_order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
  const std::int64_t groups = t.k / t.group_size;
  for (int r = 0; r < t.rows; ++r) {
    for (std::int64_t g = 0; g < groups; ++g) {
      const std::int64_t first = r * t.stride + g * t.group_size;
      __m256i max0 = _mm256_setzero_si256();
      __m256i max1 = max0;
      for (int i = 0; i < t.group_size; i += 16) {
        const __m256i a = _mm256_castps_si256(load8(t.activations, t.format, first + i));
        const __m256i b = _mm256_castps_si256(load8(t.activations, t.format, first + i + 8));
        max0 = _mm256_max_epi32(max0, _mm256_and_si256(a, magnitude));
        max1 = _mm256_max_epi32(max1, _mm256_and_si256(b, magnitude));
      }
      const float absmax = largest_lane(_mm256_max_epi32(max0, max1));
      const bool zero = absmax < kSmallestAbsmax;
      const __m256 inverse = _mm256_set1_ps(zero ? 0.0f : 127.0f / absmax);
      __m256i sums = _mm256_setzero_si256();
      for (int i = 0; i < t.group_size; i += 32) {
        __m256i q[4];
        for (int j = 0; j < 4; ++j) {
          q[j] = _mm256_cvtps_epi32(
              _mm256_mul_ps(load8(t.activations, t.format, first + i + j * 8), inverse));
        }
        const __m256i bytes = _mm256_permutevar8x32_epi32(
            _mm256_packs_epi16(_mm256_packs_epi32(q[0], q[1]), _mm256_packs_epi32(q[2], q[3])),
            in_order);
        sums = _mm256_add_epi32(sums,
                                _mm256_madd_epi16(_mm256_maddubs_epi16(_mm256_set1_epi8(1), bytes),
                                                  _mm256_set1_epi16(1)));
        kPut(t, r, g * t.group_size + i, bytes);
      }
      t.row_scales[g * t.rows + r] = zero ? 0.0f : absmax / 127.0f;
      t.row_starts[g * t.rows + r] = -8 * add_lanes(sums);
    }
  }
}

void store(const Int4StoreTask& t) {
  const int element = t.format == FloatFormat::kFloat32 ? 4 : 2;
  alignas(32) float bias_buffer[kPanelColumns] = {};
  const void* bias = t.bias;
  if (bias != nullptr && t.columns < kPanelColumns) {
    copy_values(t.bias, bias_buffer, t.columns, t.format);
    bias = bias_buffer;
  }
  for (int r = 0; r < t.rows; ++r) {
    alignas(32) float row[kPanelColumns];
    void* output = static_cast<char*>(t.output) + r * t.stride * element;
    void* to = t.columns < kPanelColumns ? row : output;
    for (int n = 0; n < kPanelColumns; n += 8) {
      __m256 sums = _mm256_loadu_ps(t.sums + r * kPanelColumns + n);
      if (bias != nullptr) {
        sums = _mm256_add_ps(sums, load8(bias, t.format, n));
      }
      store8(to, t.format, n, sums);
    }
    if (t.columns < kPanelColumns) {
      copy_values(row, output, t.columns, t.format);
    }
  }
}

}  // namespace
}  // namespace dovetail::cpu
