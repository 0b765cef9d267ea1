// SPDX-License-Identifier: Apache-2.0
// The int4 GEMM with AVX-512 and VNNI. One zmm holds a line's 16 columns, a 32-bit lane a column.
//
// int8: vpdpbusd multiplies 4 codes (0..15) of every column with 4 broadcast activations and adds
// to 32 bits; the sums start at -zero_point * sum(activations). 16 rows share the two unpacked
// halves of a line. exact: vpermps looks the value of a code up in a table of 16 floats, then FMA;
// the scale once per group.
#include "cpu/avx2/int4_interleave.h"
#include "cpu/avx2/int4_stream.h"
#include "cpu/avx2/int4_unswizzle.h"
#include "cpu/int4_gemm_kernels.h"

namespace dovetail::cpu {
namespace {

#define DOVETAIL_UNROLL _Pragma("GCC unroll 16")

constexpr int kRows = 16;  // 16 sums, 2 code vectors, mask: half of the registers stay free

inline __attribute__((always_inline)) __m512 load16(const void* data, FloatFormat format,
                                                    std::int64_t i) {
  if (format == FloatFormat::kFloat32) {
    return _mm512_loadu_ps(static_cast<const float*>(data) + i);
  }
  const __m256i bits = _mm256_loadu_si256(
      reinterpret_cast<const __m256i*>(static_cast<const std::uint16_t*>(data) + i));
  if (format == FloatFormat::kFloat16) {
    return _mm512_cvtph_ps(bits);
  }
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16));
}

inline __attribute__((always_inline)) __m512i zero_points16(const Int4MultiplyTask& t, int group) {
  return _mm512_cvtepi8_epi32(
      _mm_loadu_si128(reinterpret_cast<const __m128i*>(t.zero_points + group * kPanelColumns)));
}

// sums += codes * the four bytes at `activations`, in every lane. Assembly, because GCC 12 loads the
// bytes into a register, copies all sums in every round, and has no register left for two of 16.
inline __attribute__((always_inline)) void add_products(__m512i& sums, __m512i codes,
                                                        const std::int32_t* activations) {
  __asm__("vpdpbusd %2%{1to16%}, %1, %0" : "+v"(sums) : "v"(codes), "m"(*activations));
}

template <int R>
void multiply_int8(const Int4MultiplyTask& t) {
  const __m512i nibble = _mm512_set1_epi8(15);
  const std::uint8_t* line = t.weights;
  const auto* a = static_cast<const std::int32_t*>(t.activations);
  for (int g = 0; g < t.groups; ++g) {
    const std::int32_t* row_starts = t.row_starts + g * R;
    const float* row_scales = t.row_scales + g * R;
    __m512i sums[R];
    DOVETAIL_UNROLL
    for (int r = 0; r < R; ++r) {
      sums[r] = _mm512_set1_epi32(row_starts[r]);
    }
    if (t.zero_points != nullptr) {  // start / 8 * zero_point, exact
      const __m512i zero_points = zero_points16(t, g);
      DOVETAIL_UNROLL
      for (int r = 0; r < R; ++r) {
        sums[r] = _mm512_srai_epi32(_mm512_mullo_epi32(sums[r], zero_points), 3);
      }
    }
    __m512i more[R <= 4 ? R : 1];  // few rows: a second chain hides the latency of vpdpbusd
    if constexpr (R <= 4) {
      DOVETAIL_UNROLL
      for (int r = 0; r < R; ++r) {
        more[r] = _mm512_setzero_si512();
      }
    }
    for (int k = 0; k < t.group_size; k += 8, line += kLineBytes, a += 2 * R) {
      if constexpr (R > kMemoryBoundRows) {
        prefetch_line(line);
      }
      const __m512i codes = _mm512_loadu_si512(line);
      const __m512i low = _mm512_and_si512(codes, nibble);
      const __m512i high = _mm512_and_si512(_mm512_srli_epi16(codes, 4), nibble);
      DOVETAIL_UNROLL
      for (int r = 0; r < R; ++r) {
        add_products(sums[r], low, a + r);
        add_products(R <= 4 ? more[r] : sums[r], high, a + R + r);
      }
    }
    const __m512 scales = load16(t.scales, t.scale_format, g * kPanelColumns);
    DOVETAIL_UNROLL
    for (int r = 0; r < R; ++r) {
      float* sum = t.sums + r * kPanelColumns;
      if constexpr (R <= 4) {
        sums[r] = _mm512_add_epi32(sums[r], more[r]);
      }
      const __m512 scale = _mm512_mul_ps(scales, _mm512_set1_ps(row_scales[r]));
      _mm512_storeu_ps(sum,
                       _mm512_fmadd_ps(_mm512_cvtepi32_ps(sums[r]), scale, _mm512_loadu_ps(sum)));
    }
  }
}

template <int R>
void multiply_exact(const Int4MultiplyTask& t) {
  const __m512 codes_as_floats =
      _mm512_setr_ps(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  const __m512 symmetric = _mm512_sub_ps(codes_as_floats, _mm512_set1_ps(8));
  const __m512 table = t.zero_points == nullptr ? symmetric : codes_as_floats;
  const std::uint8_t* line = t.weights;
  const auto* a = static_cast<const float*>(t.activations);
  for (int g = 0; g < t.groups; ++g) {
    __m512 sums[R];
    DOVETAIL_UNROLL
    for (int r = 0; r < R; ++r) {
      sums[r] = _mm512_setzero_ps();
    }
    const __m512 zero_points =
        t.zero_points == nullptr ? _mm512_setzero_ps() : _mm512_cvtepi32_ps(zero_points16(t, g));
    for (int k = 0; k < t.group_size; k += 8, line += kLineBytes, a += 8 * R) {
      prefetch_line(line);
      const __m512i codes = _mm512_loadu_si512(line);
      DOVETAIL_UNROLL
      for (int j = 0; j < 8; ++j) {  // byte j % 4 of a lane, high nibble from j = 4 on
        const __m512i index = _mm512_srli_epi32(codes, j % 4 * 8 + j / 4 * 4);  // bits 3..0 count
        __m512 weight = _mm512_permutexvar_ps(index, table);
        if (t.zero_points != nullptr) {
          weight = _mm512_sub_ps(weight, zero_points);
        }
        DOVETAIL_UNROLL
        for (int r = 0; r < R; ++r) {
          sums[r] = _mm512_fmadd_ps(weight, _mm512_set1_ps(a[j * R + r]), sums[r]);
        }
      }
    }
    const __m512 scales = load16(t.scales, t.scale_format, g * kPanelColumns);
    DOVETAIL_UNROLL
    for (int r = 0; r < R; ++r) {
      float* sum = t.sums + r * kPanelColumns;
      _mm512_storeu_ps(sum, _mm512_fmadd_ps(sums[r], scales, _mm512_loadu_ps(sum)));
    }
  }
}

using Multiply = void (*)(const Int4MultiplyTask&);
#define DOVETAIL_EVERY_HEIGHT(f)                                                             \
  {                                                                                          \
    f<1>, f<2>, f<3>, f<4>, f<5>, f<6>, f<7>, f<8>, f<9>, f<10>, f<11>, f<12>, f<13>, f<14>, \
        f<15>, f<16>                                                                         \
  }
constexpr Multiply kMultiplyInt8[kRows] = DOVETAIL_EVERY_HEIGHT(multiply_int8);
constexpr Multiply kMultiplyExact[kRows] = DOVETAIL_EVERY_HEIGHT(multiply_exact);

}  // namespace

const Int4GemmKernels kInt4GemmAvx512 = {
    .tier = "avx512",
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
