// SPDX-License-Identifier: Apache-2.0
#include <immintrin.h>

#include "roofs.h"

namespace dovetail::bench {
namespace {

std::uint64_t read(const void* data, std::size_t bytes) {
  const auto* at = static_cast<const char*>(data);
  __m512i sums[8];
  for (auto& sum : sums) {
    sum = _mm512_setzero_si512();
  }
  for (std::size_t i = 0; i < bytes; i += 512) {
    for (std::size_t j = 0; j < 8; ++j) {
      sums[j] = _mm512_xor_si512(sums[j], _mm512_loadu_si512(at + i + j * 64));
    }
  }
  std::uint64_t result = 0;
  for (const auto& sum : sums) {
    result ^= static_cast<std::uint64_t>(_mm512_reduce_or_epi64(sum));
  }
  return result;
}

float fma(std::int64_t rounds) {
  __m512 sums[12];
  for (auto& sum : sums) {
    sum = _mm512_set1_ps(1.0f);
  }
  const __m512 a = _mm512_set1_ps(0.9999f);
  const __m512 b = _mm512_set1_ps(static_cast<float>(rounds) * 1e-12f);
  for (std::int64_t i = 0; i < rounds; ++i) {
    for (auto& sum : sums) {
      sum = _mm512_fmadd_ps(sum, a, b);
    }
  }
  __m512 total = sums[0];
  for (const auto& sum : sums) {
    total = _mm512_add_ps(total, sum);
  }
  return _mm512_reduce_add_ps(total);
}

std::int32_t int8(std::int64_t rounds) {
  __m512i sums[12];
  for (auto& sum : sums) {
    sum = _mm512_setzero_si512();
  }
  const __m512i a = _mm512_set1_epi8(static_cast<char>(rounds & 15));
  for (std::int64_t i = 0; i < rounds; ++i) {
    for (auto& sum : sums) {
      sum = _mm512_dpbusd_epi32(sum, a, a);
    }
  }
  __m512i total = sums[0];
  for (const auto& sum : sums) {
    total = _mm512_add_epi32(total, sum);
  }
  return _mm512_reduce_add_epi32(total);
}

}  // namespace

const RoofLoops kRoofLoopsAvx512 = {read, fma, int8, 12 * 16 * 2, 12 * 64 * 2};

}  // namespace dovetail::bench
