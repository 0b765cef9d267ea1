// SPDX-License-Identifier: Apache-2.0
// ldmatrix and mma.sync. Warp-wide: all 32 lanes call, from the same line. A 32-bit register holds
// two adjacent 16-bit elements, the lower index in the low half; g = lane / 4, t = lane % 4:
//
//   m16n8k16   A 16x16 row-major     a[0] = A[g    ][2t, 2t+1]      a[2] = A[g    ][2t+8, 2t+9]
//                                    a[1] = A[g + 8][2t, 2t+1]      a[3] = A[g + 8][2t+8, 2t+9]
//              B 16x8  (k by n)      b[0] = B[2t, 2t+1][g]          b[1] = B[2t+8, 2t+9][g]
//              C, D 16x8             d[0], d[1] = D[g][2t, 2t+1]    d[2], d[3] = D[g + 8][2t, 2t+1]
//
//   m16n8k32   the same picture with four 8-bit elements a register: A[g][4t .. 4t+3],
//              A[g + 8][..], then columns +16; b[0] = B[4t .. 4t+3][g], b[1] = B[4t+16 ..][g];
//              C and D as above.
//
// Accumulation is in fp32: see tensor_core.h of the host model for the exact rounding.
#pragma once

#include "cuda/ptx/number.cuh"
#include "cuda/ptx/platform.cuh"

namespace dovetail::ptx {

// d += A * B, A and B of Half or BFloat16.
template <class T>
DOVETAIL_DEVICE void mma_m16n8k16(float (&d)[4], const uint32_t (&a)[4],
                                  const uint32_t (&b)[2] DOVETAIL_SITE) {
  static_assert(std::is_same_v<T, Half> || std::is_same_v<T, BFloat16>);
#if defined(DOVETAIL_SIMT_HOST)
  simt::mma(std::is_same_v<T, Half> ? simt::Format::kHalf : simt::Format::kBFloat16, d, a, b, site);
#else
#define DOVETAIL_MMA(shape_and_types)                                             \
  asm volatile("mma.sync.aligned." shape_and_types                                \
               " {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};" \
               : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])                   \
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]))
  if constexpr (std::is_same_v<T, Half>) {
    DOVETAIL_MMA("m16n8k16.row.col.f32.f16.f16.f32");
  } else {
    DOVETAIL_MMA("m16n8k16.row.col.f32.bf16.bf16.f32");
  }
#endif
}

// d = A * B: the same with an accumulator of zero, which costs no register.
template <class T>
DOVETAIL_DEVICE void mma_m16n8k16_from_zero(float (&d)[4], const uint32_t (&a)[4],
                                            const uint32_t (&b)[2] DOVETAIL_SITE) {
#if defined(DOVETAIL_SIMT_HOST)
  for (float& sum : d) sum = 0.0f;
  mma_m16n8k16<T>(d, a, b, site);
#else
#define DOVETAIL_MMA_FROM_ZERO(shape_and_types)                                       \
  asm volatile("mma.sync.aligned." shape_and_types                                    \
               " {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%10, %10, %10, %10};" \
               : "=f"(d[0]), "=f"(d[1]), "=f"(d[2]), "=f"(d[3])                       \
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]), "f"(0.0f))
  if constexpr (std::is_same_v<T, Half>) {
    DOVETAIL_MMA_FROM_ZERO("m16n8k16.row.col.f32.f16.f16.f32");
  } else {
    DOVETAIL_MMA_FROM_ZERO("m16n8k16.row.col.f32.bf16.bf16.f32");
  }
#endif
}

// E4m3 inputs; sm_89 and later (kHasE4m3Mma), a trap elsewhere.
inline constexpr bool kHasE4m3Mma = DOVETAIL_ARCH >= 89 || DOVETAIL_ARCH == 0;

DOVETAIL_DEVICE void mma_m16n8k32_e4m3(float (&d)[4], const uint32_t (&a)[4],
                                       const uint32_t (&b)[2] DOVETAIL_SITE) {
#if defined(DOVETAIL_SIMT_HOST)
  simt::mma(simt::Format::kE4m3, d, a, b, site);
#elif DOVETAIL_ARCH >= 89
  DOVETAIL_MMA("m16n8k32.row.col.f32.e4m3.e4m3.f32");
#else
  (void)d, (void)a, (void)b;
  __trap();
#endif
}

// Loads Count (1, 2, 4) 8x8 matrices of 16-bit elements. Lane 8j + i gives the address of row i (16
// bytes, 16-byte aligned) of matrix j; lanes from 8 * Count on give no address. Lane receives
//   plain:      r[j] = row g,  columns 2t, 2t+1 of matrix j     (an A fragment, or B stored n by k)
//   Transposed: r[j] = rows 2t, 2t+1 of column g                (a B fragment stored k by n)
// For A of m16n8k16 the matrices are (rows 0-7, k 0-7), (8-15, 0-7), (0-7, 8-15), (8-15, 8-15).
template <int Count, bool Transposed = false>
DOVETAIL_DEVICE void load_matrix(uint32_t (&r)[Count], const void* row DOVETAIL_SITE) {
  static_assert(Count == 1 || Count == 2 || Count == 4);
#if defined(DOVETAIL_SIMT_HOST)
  simt::load_matrix(r, Count, Transposed, row, site);
#else
#define DOVETAIL_LDMATRIX_1(trans)                                             \
  asm volatile("ldmatrix.sync.aligned.m8n8.x1" trans ".shared.b16 {%0}, [%1];" \
               : "=r"(r[0])                                                    \
               : "r"(address)                                                  \
               : "memory")
#define DOVETAIL_LDMATRIX_2(trans)                                                 \
  asm volatile("ldmatrix.sync.aligned.m8n8.x2" trans ".shared.b16 {%0, %1}, [%2];" \
               : "=r"(r[0]), "=r"(r[1])                                            \
               : "r"(address)                                                      \
               : "memory")
#define DOVETAIL_LDMATRIX_4(trans)                                                         \
  asm volatile("ldmatrix.sync.aligned.m8n8.x4" trans ".shared.b16 {%0, %1, %2, %3}, [%4];" \
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])                            \
               : "r"(address)                                                              \
               : "memory")
  const uint32_t address = shared_address(row);
  if constexpr (Count == 1 && Transposed) DOVETAIL_LDMATRIX_1(".trans");
  if constexpr (Count == 1 && !Transposed) DOVETAIL_LDMATRIX_1("");
  if constexpr (Count == 2 && Transposed) DOVETAIL_LDMATRIX_2(".trans");
  if constexpr (Count == 2 && !Transposed) DOVETAIL_LDMATRIX_2("");
  if constexpr (Count == 4 && Transposed) DOVETAIL_LDMATRIX_4(".trans");
  if constexpr (Count == 4 && !Transposed) DOVETAIL_LDMATRIX_4("");
#endif
}

}  // namespace dovetail::ptx
