// SPDX-License-Identifier: Apache-2.0
// Every tile instruction of this library. A tile register (0..7) holds up to 16 rows of up to 64
// bytes; the configuration gives each its shape. With A [M, K], B [K, N], C [M, N]:
//
//   int8   A: rows M, K bytes a row              bf16   A: rows M, K bf16 a row
//          B: row k/4, lane n: k .. k+3 of n            B: row k/2, lane n: k, k+1 of n
//          C: rows M, N lanes of 32 bits                C: rows M, N fp32
//
// With DOVETAIL_AMX_TWIN the same names are a model in plain C (tile_twin.h): kernels then run, and
// are tested, on CPUs without tiles. Written as assembly because the compilers' intrinsics take
// literal register numbers only and do not say that a load reads memory.
#pragma once

#include <cstdint>

namespace dovetail::cpu {
namespace {

// The operand of LDTILECFG. Registers that are not used have 0 rows and 0 bytes.
struct alignas(64) TileConfig {
  std::uint8_t palette = 1;
  std::uint8_t start_row = 0;
  std::uint8_t reserved[14] = {};
  std::uint16_t row_bytes[16] = {};
  std::uint8_t rows[16] = {};
};
static_assert(sizeof(TileConfig) == 64);

}  // namespace
}  // namespace dovetail::cpu

#if defined(DOVETAIL_AMX_TWIN)
#include "cpu/amx/tile_twin.h"
#else

namespace dovetail::cpu {
namespace {

#define DOVETAIL_TILE inline __attribute__((always_inline)) void

// Zeroes all tiles. The calling thread keeps the shapes until tile_release().
DOVETAIL_TILE tile_configure(const TileConfig& config) {
  __asm__ volatile("ldtilecfg %0" ::"m"(config));
}
DOVETAIL_TILE tile_release() {
  __asm__ volatile("tilerelease" ::);
}

template <int T>
DOVETAIL_TILE tile_zero() {
  __asm__ volatile("tilezero %%tmm%c0" ::"i"(T));
}
template <int T>
DOVETAIL_TILE tile_load(const void* base, std::int64_t stride) {
  __asm__ volatile("tileloadd (%0,%1,1), %%tmm%c2" ::"r"(base), "r"(stride), "i"(T) : "memory");
}
template <int T>
DOVETAIL_TILE tile_store(void* base, std::int64_t stride) {
  __asm__ volatile("tilestored %%tmm%c2, (%0,%1,1)" ::"r"(base), "r"(stride), "i"(T) : "memory");
}

// C += A * B, signed bytes into 32-bit sums.
template <int C, int A, int B>
DOVETAIL_TILE tile_dot_int8() {
  __asm__ volatile("tdpbssd %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(C), "i"(A), "i"(B));
}
// C += A * B, bf16 into fp32. Subnormal operands, products and sums count as zero.
template <int C, int A, int B>
DOVETAIL_TILE tile_dot_bf16() {
  __asm__ volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(C), "i"(A), "i"(B));
}

#undef DOVETAIL_TILE

}  // namespace
}  // namespace dovetail::cpu

#endif
