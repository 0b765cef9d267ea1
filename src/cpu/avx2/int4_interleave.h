// SPDX-License-Identifier: Apache-2.0
// Packed activations for kernels that broadcast: the rows of a tile side by side, fp32 [k][rows]
// and int8 [k/4][rows][4]. A copy for each of avx2 and avx512.
#pragma once

#include "cpu/avx2/int4_activations.h"

namespace dovetail::cpu {
namespace {

void pack_exact(const Int4PackTask& t) {
  auto* packed = static_cast<float*>(t.packed);
  for (int r = 0; r < t.rows; ++r) {
    for (std::int64_t k = 0; k < t.k; k += 8) {
      const __m256 values = load8(t.activations, t.format, r * t.stride + k);
      if (t.rows == 1) {
        _mm256_storeu_ps(packed + k, values);
        continue;
      }
      alignas(32) float row[8];
      _mm256_store_ps(row, values);
      for (int i = 0; i < 8; ++i) {
        packed[(k + i) * t.rows + r] = row[i];
      }
    }
  }
}

inline __attribute__((always_inline)) void put_interleaved(const Int4PackTask& t, int r,
                                                           std::int64_t k, __m256i bytes) {
  std::uint32_t* to = static_cast<std::uint32_t*>(t.packed) + k / 4 * t.rows + r;
  if (t.rows == 1) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), bytes);
    return;
  }
  alignas(32) std::uint32_t words[8];
  _mm256_store_si256(reinterpret_cast<__m256i*>(words), bytes);
  for (int j = 0; j < 8; ++j) {
    to[j * t.rows] = words[j];
  }
}

void pack_int8(const Int4PackTask& t) {
  pack_int8_with<put_interleaved>(t);
}

}  // namespace
}  // namespace dovetail::cpu
