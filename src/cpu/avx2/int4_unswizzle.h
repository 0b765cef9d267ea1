// SPDX-License-Identifier: Apache-2.0
// edgellm_v1 to cpu_v1 lines with 256-bit vectors; a copy for each of the tiers from avx2 on.
//
// Nibble a + 4c of word b of a row's run of 32 k is k = 8a + 2b + c. With words 0, 1 of four rows
// in one vector (a row per 64-bit lane) and words 2, 3 in another, shifting by 4a and masking with
// 000f leaves, as 16-bit elements, the codes (b, c) = (0,0) (0,1) (1,0) (1,1) of octet a: its low
// nibbles; the second vector has the high ones. Narrowing 16 to 8 bits gives the four rows' lanes
// of the line.
#pragma once

#include <immintrin.h>

#include <cstdint>

#include "cpu/int4_gemm_kernels.h"

namespace dovetail::cpu {
namespace {

inline __attribute__((always_inline)) __m256i octet_codes(__m256i words01, __m256i words23,
                                                          int octet) {
  const __m256i mask = _mm256_set1_epi16(0x000f);
  const __m256i low = _mm256_and_si256(_mm256_srli_epi16(words01, 4 * octet), mask);
  const __m256i high = _mm256_and_si256(_mm256_srli_epi16(words23, 4 * octet), mask);
  return _mm256_or_si256(low, _mm256_slli_epi16(high, 4));
}

// Stores the 16 bytes of two neighbouring octets into their lines.
inline __attribute__((always_inline)) void store_octets(__m256i first, __m256i second,
                                                        std::uint8_t* line) {
  const __m256i bytes = _mm256_permute4x64_epi64(_mm256_packus_epi16(first, second), 0xd8);
  _mm_storeu_si128(reinterpret_cast<__m128i*>(line), _mm256_castsi256_si128(bytes));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(line + kLineBytes),
                   _mm256_extracti128_si256(bytes, 1));
}

void unswizzle(const Int4UnswizzleTask& t) {
  const __m128i padding = _mm_set1_epi8(static_cast<char>(0x88));
  for (int quad = 0; quad < 4; ++quad) {
    std::uint8_t* line = t.lines + quad * 16;
    if (quad >= t.quads) {
      for (std::int64_t k = 0; k < t.k; k += 8, line += kLineBytes) {
        _mm_storeu_si128(reinterpret_cast<__m128i*>(line), padding);
      }
      continue;
    }
    const std::uint8_t* quad_weights = t.weights + quad * t.quad_bytes;
    for (std::int64_t k = 0; k < t.k; k += 32, line += 4 * kLineBytes) {
      const auto* half = reinterpret_cast<const __m128i*>(quad_weights + k / 64 * 128 + k % 64 / 2);
      const __m256i rows01 = _mm256_inserti128_si256(_mm256_castsi128_si256(_mm_loadu_si128(half)),
                                                     _mm_loadu_si128(half + 2), 1);
      const __m256i rows23 = _mm256_inserti128_si256(
          _mm256_castsi128_si256(_mm_loadu_si128(half + 4)), _mm_loadu_si128(half + 6), 1);
      // 64-bit lanes after unpacking: rows 0, 2, 1, 3; 0xd8 swaps the middle ones.
      const __m256i words01 = _mm256_permute4x64_epi64(_mm256_unpacklo_epi64(rows01, rows23), 0xd8);
      const __m256i words23 = _mm256_permute4x64_epi64(_mm256_unpackhi_epi64(rows01, rows23), 0xd8);
      store_octets(octet_codes(words01, words23, 0), octet_codes(words01, words23, 1), line);
      store_octets(octet_codes(words01, words23, 2), octet_codes(words01, words23, 3),
                   line + 2 * kLineBytes);
    }
  }
}

}  // namespace
}  // namespace dovetail::cpu
