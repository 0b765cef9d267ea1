// SPDX-License-Identifier: Apache-2.0
// The operands of the tile products: activations packed as A tiles, a group's codes unpacked as B
// tiles (tile.h has their pictures). R rows of a tile in the sense of int4_gemm_plan.h, G group
// size.
//
//   A  int8   [K/s][R][s] bytes, s = min(64, G)
//      exact  [K/32][pieces][R][32] bf16: value = sum of its pieces, exactly
//   B  int8   code - zero point: [G/4][16][4]       bf16: the same integers, [G/2][16][2]
//
// A piece is the value's upper half, sign, exponent and 8 bits of the significand: cut off, not
// rounded, so that the rest is exact and no piece overflows. fp32 has 24 such bits (3 pieces), fp16
// 11 (2 pieces), bf16 8. A rest below 2^-126 is lost: the tiles take subnormals for zero.
#pragma once

#include "cpu/avx2/int4_activations.h"
#include "cpu/avx2/int4_stream.h"

namespace dovetail::cpu {
namespace {

constexpr int kPieceK = 32;

inline __attribute__((always_inline)) int pieces_of(FloatFormat format) {
  return format == FloatFormat::kFloat32 ? 3 : format == FloatFormat::kFloat16 ? 2 : 1;
}

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

// For pack_int8_with: k .. k + 31 of row r.
inline __attribute__((always_inline)) void put_in_tile(const Int4PackTask& t, int r, std::int64_t k,
                                                       __m256i bytes) {
  const std::int64_t width = t.group_size < 64 ? t.group_size : 64;
  std::int8_t* tile = static_cast<std::int8_t*>(t.packed) + k / width * width * t.rows;
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(tile + r * width + k % width), bytes);
}

void pack_pieces(const Int4PackTask& t) {
  const __m512i upper = _mm512_set1_epi32(static_cast<int>(0xffff0000u));
  const __m512 infinity = _mm512_set1_ps(__builtin_inff());
  const int pieces = pieces_of(t.format);
  auto* packed = static_cast<std::uint16_t*>(t.packed);
  for (std::int64_t k = 0; k < t.k; k += 16) {
    for (int r = 0; r < t.rows; ++r) {
      __m512 rest = load16(t.activations, t.format, r * t.stride + k);
      const __mmask16 infinite = _mm512_cmp_ps_mask(_mm512_abs_ps(rest), infinity, _CMP_EQ_OQ);
      for (int piece = 0; piece < pieces; ++piece) {
        const __m512i bits = _mm512_and_si512(_mm512_castps_si512(rest), upper);
        const std::int64_t at = (k / kPieceK * pieces + piece) * t.rows + r;
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(packed + at * kPieceK + k % kPieceK),
                            _mm512_cvtepi32_epi16(_mm512_srli_epi32(bits, 16)));
        rest = _mm512_sub_ps(rest, _mm512_castsi512_ps(bits));
        rest = _mm512_mask_mov_ps(rest, infinite, _mm512_setzero_ps());  // not inf - inf
      }
    }
  }
}

// The group's zero points, each in all four bytes of its column's lane.
inline __attribute__((always_inline)) __m512i zero_point_bytes(const Int4MultiplyTask& t,
                                                               int group) {
  if (t.zero_points == nullptr) {
    return _mm512_set1_epi8(8);
  }
  const __m512i lanes = _mm512_cvtepu8_epi32(
      _mm_loadu_si128(reinterpret_cast<const __m128i*>(t.zero_points + group * kPanelColumns)));
  return _mm512_mullo_epi32(lanes, _mm512_set1_epi32(0x01010101));
}

// A line becomes two rows of B, k 0..3 and 4..7 of its columns.
inline __attribute__((always_inline)) void unpack_group_int8(const Int4MultiplyTask& t, int group,
                                                             char* to) {
  const __m512i nibble = _mm512_set1_epi8(15);
  const __m512i zero_points = zero_point_bytes(t, group);
  const std::uint8_t* line = t.weights + static_cast<std::int64_t>(group) * t.group_size * 8;
  for (int k = 0; k < t.group_size; k += 8, line += kLineBytes, to += 128) {
    prefetch_line(line);
    const __m512i codes = _mm512_loadu_si512(line);
    const __m512i low = _mm512_and_si512(codes, nibble);
    const __m512i high = _mm512_and_si512(_mm512_srli_epi16(codes, 4), nibble);
    _mm512_store_si512(to, _mm512_sub_epi8(low, zero_points));
    _mm512_store_si512(to + 64, _mm512_sub_epi8(high, zero_points));
  }
}

// A line becomes four rows of B. The bytes of a pair of k go to 16-bit elements; code - zero point
// + 16, 1 to 31, is looked up in a table of bf16 values.
inline __attribute__((always_inline)) void unpack_group_bf16(const Int4MultiplyTask& t, int group,
                                                             char* to) {
  alignas(64) static constexpr std::uint16_t kValues[32] = {
      0xc180, 0xc170, 0xc160, 0xc150, 0xc140, 0xc130, 0xc120, 0xc110,  // -16 to -9
      0xc100, 0xc0e0, 0xc0c0, 0xc0a0, 0xc080, 0xc040, 0xc000, 0xbf80,  // -8 to -1
      0x0000, 0x3f80, 0x4000, 0x4040, 0x4080, 0x40a0, 0x40c0, 0x40e0,  // 0 to 7
      0x4100, 0x4110, 0x4120, 0x4130, 0x4140, 0x4150, 0x4160, 0x4170,  // 8 to 15
  };
  const __m512i values = _mm512_load_si512(kValues);
  const __m512i nibble = _mm512_set1_epi8(15);
  const __m512i offset = _mm512_sub_epi8(_mm512_set1_epi8(16), zero_point_bytes(t, group));
  // Bytes 0, 1 of every lane to the low bytes of its two halves; the other bytes do not count.
  const __m512i first = _mm512_broadcast_i32x4(
      _mm_setr_epi8(0, -1, 1, -1, 4, -1, 5, -1, 8, -1, 9, -1, 12, -1, 13, -1));
  const __m512i second = _mm512_broadcast_i32x4(
      _mm_setr_epi8(2, -1, 3, -1, 6, -1, 7, -1, 10, -1, 11, -1, 14, -1, 15, -1));
  const std::uint8_t* line = t.weights + static_cast<std::int64_t>(group) * t.group_size * 8;
  for (int k = 0; k < t.group_size; k += 8, line += kLineBytes, to += 256) {
    prefetch_line(line);
    const __m512i codes = _mm512_loadu_si512(line);
    for (int half = 0; half < 2; ++half) {
      const __m512i bits = half == 0 ? codes : _mm512_srli_epi16(codes, 4);
      const __m512i index = _mm512_add_epi8(_mm512_and_si512(bits, nibble), offset);
      _mm512_store_si512(to + half * 128,
                         _mm512_permutexvar_epi16(_mm512_shuffle_epi8(index, first), values));
      _mm512_store_si512(to + half * 128 + 64,
                         _mm512_permutexvar_epi16(_mm512_shuffle_epi8(index, second), values));
    }
  }
}

template <bool Int8>
inline __attribute__((always_inline)) void unpack_group(const Int4MultiplyTask& t, int group,
                                                        char* to) {
  if constexpr (Int8) {
    unpack_group_int8(t, group, to);
  } else {
    unpack_group_bf16(t, group, to);
  }
}

}  // namespace
}  // namespace dovetail::cpu
