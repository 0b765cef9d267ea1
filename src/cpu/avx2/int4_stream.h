// SPDX-License-Identifier: Apache-2.0
// How weights come from memory. They are one sequential stream per task (panels follow each other),
// which the hardware prefetches by itself within a 4 KB page. One prefetch per group, a page ahead,
// brings the next page's translation and first line. Zen 4, M = 1, weights beyond the L3, one core:
// 26-28 GB/s, against 20-27 without it and 19-25 with a prefetch per line (which also costs 9% when
// the weights are cached).
#pragma once

#include <immintrin.h>

namespace dovetail::cpu {
namespace {

inline __attribute__((always_inline)) void prefetch_page(const void* line) {
  _mm_prefetch(static_cast<const char*>(line) + 4096, _MM_HINT_T0);
}

}  // namespace
}  // namespace dovetail::cpu
