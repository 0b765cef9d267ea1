// SPDX-License-Identifier: Apache-2.0
// How weights come from memory: one sequential stream per task (panels follow each other). Measured
// on Zen 4 with 4 KB pages, weights beyond the L3:
//   int8, 1 or 2 rows, bound by memory: the hardware's prefetchers alone, 22-28 GB/s on one core at
//     M = 1. A software prefetch costs: one a group, 1 to 8 KB ahead, 20-25 GB/s; one a line, 17.
//   more rows, or fp32, bound by arithmetic: a prefetch a line, 48 lines ahead: M = 8 takes 0.71
//     ms, against 0.97 ms with one a group (M = 16: 1.38 and 1.66; exact M = 1: 0.85 and 1.07 ms).
#pragma once

#include <immintrin.h>

#include "cpu/int4_gemm_kernels.h"

namespace dovetail::cpu {
namespace {

constexpr int kMemoryBoundRows = 2;

inline __attribute__((always_inline)) void prefetch_line(const void* line) {
  _mm_prefetch(static_cast<const char*>(line) + 48 * kLineBytes, _MM_HINT_T0);
}

}  // namespace
}  // namespace dovetail::cpu
