// SPDX-License-Identifier: Apache-2.0
#include <immintrin.h>

#include "roofs.h"

namespace dovetail::bench {
namespace {

std::uint64_t read(const void* data, std::size_t bytes) {
  const auto* at = static_cast<const __m256i*>(data);
  __m256i sums[8];
  for (auto& sum : sums) {
    sum = _mm256_setzero_si256();
  }
  for (std::size_t i = 0; i < bytes / 32; i += 8) {
    for (std::size_t j = 0; j < 8; ++j) {
      sums[j] = _mm256_xor_si256(sums[j], _mm256_loadu_si256(at + i + j));
    }
  }
  std::uint64_t result = 0;
  for (const auto& sum : sums) {
    result ^=
        static_cast<std::uint64_t>(_mm256_extract_epi64(sum, 0) ^ _mm256_extract_epi64(sum, 3));
  }
  return result;
}

float fma(std::int64_t rounds) {
  __m256 sums[12];
  for (auto& sum : sums) {
    sum = _mm256_set1_ps(1.0f);
  }
  const __m256 a = _mm256_set1_ps(0.9999f);
  const __m256 b = _mm256_set1_ps(static_cast<float>(rounds) * 1e-12f);
  for (std::int64_t i = 0; i < rounds; ++i) {
    for (auto& sum : sums) {
      sum = _mm256_fmadd_ps(sum, a, b);
    }
  }
  __m256 total = sums[0];
  for (const auto& sum : sums) {
    total = _mm256_add_ps(total, sum);
  }
  return _mm256_cvtss_f32(total);
}

// 8 steps of pmaddubsw into 16 bits, then pmaddwd into 32: what int4 codes times int8 allow.
std::int32_t int8(std::int64_t rounds) {
  constexpr int kChains = 4;
  __m256i totals[kChains];
  for (auto& total : totals) {
    total = _mm256_setzero_si256();
  }
  __m256i a = _mm256_set1_epi8(static_cast<char>(rounds & 15));
  for (std::int64_t i = 0; i < rounds; ++i) {
    __m256i sums[kChains];
    for (int c = 0; c < kChains; ++c) {
      sums[c] = _mm256_maddubs_epi16(a, a);
    }
    for (int step = 1; step < 8; ++step) {
      for (auto& sum : sums) {
        __asm__("" : "+x"(a));  // a new operand every time, as far as the compiler knows
        sum = _mm256_add_epi16(sum, _mm256_maddubs_epi16(a, a));
      }
    }
    for (int c = 0; c < kChains; ++c) {
      __asm__("" : "+x"(sums[c]));
      totals[c] = _mm256_add_epi32(totals[c], _mm256_madd_epi16(sums[c], _mm256_set1_epi16(1)));
    }
  }
  __m256i total = totals[0];
  for (int c = 1; c < kChains; ++c) {
    total = _mm256_add_epi32(total, totals[c]);
  }
  return _mm256_extract_epi32(total, 0);
}

}  // namespace

const RoofLoops kRoofLoopsAvx2 = {read, fma, int8, 12 * 8 * 2, 4 * 8 * 32 * 2};

}  // namespace dovetail::bench
