// SPDX-License-Identifier: Apache-2.0
// The int4 GEMM with AVX2. Two ymm hold a line's columns 0..7 and 8..15, a 32-bit lane a column.
//
// int8: pmaddubsw multiplies 4 codes (0..15) of a column with 4 broadcast activations and adds
// pairs into 16 bits. 15 * 128 * 2 = 3840 a step, so 8 steps (32 k) fit before pmaddwd folds them
// into 32 bits: one fold in 8 instead of one a step, which is what makes this faster than the usual
// sequence on CPUs without VNNI. The zero points enter as -zero_point * sum(activations), the start
// value of the 32-bit sums. exact: code - zero_point as fp32 (exact), FMA, one scaling a group.
#include "cpu/avx2/int4_interleave.h"
#include "cpu/avx2/int4_stream.h"
#include "cpu/avx2/int4_unswizzle.h"
#include "cpu/int4_gemm_kernels.h"

namespace dovetail::cpu {
namespace {

#define DOVETAIL_UNROLL _Pragma("GCC unroll 16")

constexpr int kRows = 6;  // 12 sums, 2 code or weight vectors, a broadcast, a product: all 16 ymm

inline __attribute__((always_inline)) __m256i load_half(const std::uint8_t* line, int half) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(line + half * 32));
}

inline __attribute__((always_inline)) __m256i zero_points8(const Int4MultiplyTask& t, int group,
                                                           int half) {
  if (t.zero_points == nullptr) {
    return _mm256_set1_epi32(8);
  }
  return _mm256_cvtepi8_epi32(_mm_loadl_epi64(
      reinterpret_cast<const __m128i*>(t.zero_points + group * kPanelColumns + half * 8)));
}

// sums = or += codes * activations, pairs of bytes into 16 bits. GCC 12 would reorder the integer
// additions of a whole block, compute all products first and spill them (2.2 times slower): the
// empty assembly makes it hold every sum. For a full tile it still kept two of the 12 sums in
// memory, so there the two instructions are written out.
template <int R, bool First>
inline __attribute__((always_inline)) void add_products(__m256i& sums, __m256i codes,
                                                        __m256i activations) {
  if constexpr (First) {
    sums = _mm256_maddubs_epi16(codes, activations);
    __asm__("" : "+x"(sums));
  } else if constexpr (R < kRows) {
    sums = _mm256_add_epi16(sums, _mm256_maddubs_epi16(codes, activations));
    __asm__("" : "+x"(sums));
  } else {
    __m256i products;
    __asm__("vpmaddubsw %3, %2, %1\n\tvpaddw %1, %0, %0"
            : "+x"(sums), "=&x"(products)
            : "x"(codes), "x"(activations));
  }
}

// The products of a line's low or high nibbles, 4 k, with the activations at `a`.
template <int R, bool First>
inline __attribute__((always_inline)) void add_nibbles(__m256i (&sums)[R][2], const __m256i* codes,
                                                       const std::int32_t* a) {
  const __m256i nibble = _mm256_set1_epi8(15);
  const __m256i nibbles[2] = {_mm256_and_si256(codes[0], nibble),
                              _mm256_and_si256(codes[1], nibble)};
  DOVETAIL_UNROLL
  for (int r = 0; r < R; ++r) {
    const __m256i value = _mm256_set1_epi32(a[r]);
    DOVETAIL_UNROLL
    for (int h = 0; h < 2; ++h) {
      add_products<R, First>(sums[r][h], nibbles[h], value);
    }
  }
}

// First: of a block of 32 k, whose sums begin here.
template <int R, bool First>
inline __attribute__((always_inline)) void add_line(__m256i (&sums)[R][2], const std::uint8_t* line,
                                                    const std::int32_t* a) {
  if constexpr (R > kMemoryBoundRows) {
    prefetch_line(line);
  }
  const __m256i codes[2] = {load_half(line, 0), load_half(line, 1)};
  add_nibbles<R, First>(sums, codes, a);
  const __m256i high[2] = {_mm256_srli_epi16(codes[0], 4), _mm256_srli_epi16(codes[1], 4)};
  add_nibbles<R, false>(sums, high, a + R);
}

template <int R>
void multiply_int8(const Int4MultiplyTask& t) {
  const __m256i ones = _mm256_set1_epi16(1);
  const std::uint8_t* line = t.weights;
  const auto* a = static_cast<const std::int32_t*>(t.activations);
  for (int g = 0; g < t.groups; ++g) {
    const std::int32_t* row_starts = t.row_starts + g * R;
    const float* row_scales = t.row_scales + g * R;
    __m256i total[R][2];
    DOVETAIL_UNROLL
    for (int r = 0; r < R; ++r) {
      total[r][0] = total[r][1] = _mm256_set1_epi32(row_starts[r]);
    }
    if (t.zero_points != nullptr) {  // start / 8 * zero_point, exact
      DOVETAIL_UNROLL
      for (int h = 0; h < 2; ++h) {
        const __m256i zero_points = zero_points8(t, g, h);
        DOVETAIL_UNROLL
        for (int r = 0; r < R; ++r) {
          total[r][h] = _mm256_srai_epi32(_mm256_mullo_epi32(total[r][h], zero_points), 3);
        }
      }
    }
    for (int k = 0; k < t.group_size; k += 32) {
      __m256i sums[R][2];
      add_line<R, true>(sums, line, a);
      for (int i = 1; i < 4; ++i) {
        add_line<R, false>(sums, line + i * kLineBytes, a + i * 2 * R);
      }
      line += 4 * kLineBytes;
      a += 8 * R;
      DOVETAIL_UNROLL
      for (int r = 0; r < R; ++r) {
        DOVETAIL_UNROLL
        for (int h = 0; h < 2; ++h) {
          total[r][h] = _mm256_add_epi32(total[r][h], _mm256_madd_epi16(sums[r][h], ones));
        }
      }
    }
    DOVETAIL_UNROLL
    for (int h = 0; h < 2; ++h) {
      const __m256 scales = load8(t.scales, t.scale_format, g * kPanelColumns + h * 8);
      DOVETAIL_UNROLL
      for (int r = 0; r < R; ++r) {
        float* sum = t.sums + r * kPanelColumns + h * 8;
        const __m256 scale = _mm256_mul_ps(scales, _mm256_set1_ps(row_scales[r]));
        _mm256_storeu_ps(
            sum, _mm256_fmadd_ps(_mm256_cvtepi32_ps(total[r][h]), scale, _mm256_loadu_ps(sum)));
      }
    }
  }
}

template <int R>
void multiply_exact(const Int4MultiplyTask& t) {
  const __m256i nibble = _mm256_set1_epi32(15);
  const std::uint8_t* line = t.weights;
  const auto* a = static_cast<const float*>(t.activations);
  for (int g = 0; g < t.groups; ++g) {
    __m256 sums[R][2];
    DOVETAIL_UNROLL
    for (int r = 0; r < R; ++r) {
      sums[r][0] = sums[r][1] = _mm256_setzero_ps();
    }
    const __m256 zero_points[2] = {_mm256_cvtepi32_ps(zero_points8(t, g, 0)),
                                   _mm256_cvtepi32_ps(zero_points8(t, g, 1))};
    for (int k = 0; k < t.group_size; k += 8, line += kLineBytes, a += 8 * R) {
      prefetch_line(line);
      const __m256i codes[2] = {load_half(line, 0), load_half(line, 1)};
      DOVETAIL_UNROLL
      for (int j = 0; j < 8; ++j) {  // byte j % 4 of a lane, high nibble from j = 4 on
        __m256 weights[2];
        DOVETAIL_UNROLL
        for (int h = 0; h < 2; ++h) {
          const __m256i code =
              _mm256_and_si256(_mm256_srli_epi32(codes[h], j % 4 * 8 + j / 4 * 4), nibble);
          weights[h] = _mm256_sub_ps(_mm256_cvtepi32_ps(code), zero_points[h]);
        }
        DOVETAIL_UNROLL
        for (int r = 0; r < R; ++r) {
          const __m256 value = _mm256_broadcast_ss(a + j * R + r);
          sums[r][0] = _mm256_fmadd_ps(weights[0], value, sums[r][0]);
          sums[r][1] = _mm256_fmadd_ps(weights[1], value, sums[r][1]);
        }
      }
    }
    DOVETAIL_UNROLL
    for (int h = 0; h < 2; ++h) {
      const __m256 scales = load8(t.scales, t.scale_format, g * kPanelColumns + h * 8);
      DOVETAIL_UNROLL
      for (int r = 0; r < R; ++r) {
        float* sum = t.sums + r * kPanelColumns + h * 8;
        _mm256_storeu_ps(sum, _mm256_fmadd_ps(sums[r][h], scales, _mm256_loadu_ps(sum)));
      }
    }
  }
}

using Multiply = void (*)(const Int4MultiplyTask&);
constexpr Multiply kMultiplyInt8[kRows] = {multiply_int8<1>, multiply_int8<2>, multiply_int8<3>,
                                           multiply_int8<4>, multiply_int8<5>, multiply_int8<6>};
constexpr Multiply kMultiplyExact[kRows] = {multiply_exact<1>, multiply_exact<2>,
                                            multiply_exact<3>, multiply_exact<4>,
                                            multiply_exact<5>, multiply_exact<6>};

}  // namespace

const Int4GemmKernels kInt4GemmAvx2 = {
    .tier = "avx2",
    .exact_rows = kRows,
    .int8_rows = kRows,
    .exact_bytes = {4, 4, 4},
    .auto_is_int8 = true,
    .pack_exact = pack_exact,
    .pack_int8 = pack_int8,
    .multiply_exact = [](const Int4MultiplyTask& t) { kMultiplyExact[t.rows - 1](t); },
    .multiply_int8 = [](const Int4MultiplyTask& t) { kMultiplyInt8[t.rows - 1](t); },
    .store = store,
    .unswizzle = unswizzle,
};

}  // namespace dovetail::cpu
