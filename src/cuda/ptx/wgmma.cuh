// SPDX-License-Identifier: Apache-2.0
// wgmma (sm_90a): a warpgroup, four warps from a multiple of four on, multiplies 64 x 16 by 16 x N.
// All 128 threads call, from the same line. Warp w of the group holds rows 16 w .. 16 w + 15 of A
// (in registers) and of D; within them the fragments are those of mma m16n8k16 (matrix.cuh): D[n] is
// the accumulator of columns 8 n .. 8 n + 7.
//
// Matrices in shared memory are swizzled by 128 bytes and 1024-byte aligned: panels of 64 elements
// (128 bytes) a line, 16-byte chunk c of line r at place c ^ r % 8.
//
//   shared_matrix       lines are rows of A or columns of B, elements run along k. Step s of 16 is
//                       32 s bytes into the panel of k / 64.
//   shared_matrix_by_k  lines are k, elements run along the columns of B; `panel_bytes` to the next
//                       64 columns. Step s of 16 is 2048 s bytes on.
//
// The products run behind the program: registers they read or write belong to them from fence_wgmma
// to the wait_wgmma that covers their group. The host twin multiplies at that wait, and reports a
// use of those registers before it.
#pragma once

#include "cuda/ptx/matrix.cuh"
#include "cuda/ptx/number.cuh"
#include "cuda/ptx/platform.cuh"

namespace dovetail::ptx {

inline constexpr bool kHasWgmma =
#if defined(__CUDA_ARCH_FEAT_SM90_ALL) || defined(DOVETAIL_SIMT_HOST)
    true;
#else
    false;
#endif

struct SharedMatrix {
#if defined(DOVETAIL_SIMT_HOST)
  const std::byte* start;
  uint32_t panel_bytes;
#else
  uint64_t bits;
#endif
  DOVETAIL_DEVICE SharedMatrix advanced(uint32_t bytes) const {
#if defined(DOVETAIL_SIMT_HOST)
    return {start + bytes, panel_bytes};
#else
    return {bits + (bytes >> 4)};
#endif
  }
};

// Descriptor: address / 16 in bits 0-13, panel stride / 16 in 16-29, stride of 8 lines / 16 in
// 32-45, 128-byte swizzle = 1 in 62-63.
DOVETAIL_DEVICE SharedMatrix shared_matrix_by_k(const void* start, uint32_t panel_bytes) {
#if defined(DOVETAIL_SIMT_HOST)
  return {static_cast<const std::byte*>(start), panel_bytes};
#else
  return {uint64_t{(shared_address(start) & 0x3ffff) >> 4} | uint64_t{panel_bytes >> 4} << 16 |
          uint64_t{1024 >> 4} << 32 | uint64_t{1} << 62};
#endif
}
DOVETAIL_DEVICE SharedMatrix shared_matrix(const void* start) {
  return shared_matrix_by_k(start, 16);
}

#if defined(DOVETAIL_SIMT_HOST)
// 16-bit element at `bytes` from the start, through the swizzle of the address.
DOVETAIL_SIMT_TWIN inline uint32_t swizzled_element(const std::byte* start, size_t bytes,
                                                    simt::Site site) {
  const auto address = reinterpret_cast<uintptr_t>(start) + bytes;
  return simt::load<uint16_t>(reinterpret_cast<const void*>(address ^ ((address >> 7 & 7) << 4)),
                              site, simt::Access::kProductRead);
}
DOVETAIL_SIMT_TWIN inline uint32_t element_of_a(const uint32_t (&a)[4], uint32_t i, simt::Site) {
  return a[i];
}
DOVETAIL_SIMT_TWIN inline uint32_t element_of_a(const SharedMatrix& a, uint32_t i,
                                                simt::Site site) {
  const uint32_t g = lane_index() / 4, t = lane_index() % 4, row = warp_index() % 4 * 16 + g;
  const size_t at = (row + i % 2 * 8) * 128 + (2 * t + i / 2 * 8) * 2;
  return swizzled_element(a.start, at, site) | swizzled_element(a.start, at + 2, site) << 16;
}
// A, of either kind, is captured: registers with their values of now.
template <class T, int N, class A>
DOVETAIL_SIMT_TWIN void wgmma_twin(float (&d)[N / 8][4], const A& a, const SharedMatrix& b,
                                   bool by_k, bool accumulate, simt::Site site) {
  std::span<const uint32_t> registers;
  if constexpr (std::is_array_v<A>) registers = a;
  simt::multiply_async({d[0], N / 2}, registers, site, [=, &d]() DOVETAIL_SIMT_TWIN {
    const uint32_t g = lane_index() / 4, t = lane_index() % 4;
    uint32_t left[4];
    for (uint32_t i = 0; i < 4; ++i) left[i] = element_of_a(a, i, site);
    for (uint32_t n = 0; n < N / 8; ++n) {
      uint32_t right[2] = {};
      for (uint32_t i = 0; i < 4; ++i) {
        const uint32_t k = 2 * t + i % 2 + i / 2 * 8, column = 8 * n + g;
        const size_t at =
            by_k ? column / 64 * b.panel_bytes + k * 128 + column % 64 * 2 : column * 128 + k * 2;
        right[i / 2] |= swizzled_element(b.start, at, site) << (i % 2 * 16);
      }
      if (!accumulate) d[n][0] = d[n][1] = d[n][2] = d[n][3] = 0.0f;
      mma_m16n8k16<T>(d[n], left, right, site);
    }
  });
}
#endif

#define DOVETAIL_D4(n) "+f"(d[n][0]), "+f"(d[n][1]), "+f"(d[n][2]), "+f"(d[n][3])
#define DOVETAIL_D8 DOVETAIL_D4(0), DOVETAIL_D4(1)
#define DOVETAIL_D16 DOVETAIL_D8, DOVETAIL_D4(2), DOVETAIL_D4(3)
#define DOVETAIL_D32                                                                              \
  DOVETAIL_D4(0), DOVETAIL_D4(1), DOVETAIL_D4(2), DOVETAIL_D4(3), DOVETAIL_D4(4), DOVETAIL_D4(5), \
      DOVETAIL_D4(6), DOVETAIL_D4(7)
#define DOVETAIL_D64                                                                               \
  DOVETAIL_D32, DOVETAIL_D4(8), DOVETAIL_D4(9), DOVETAIL_D4(10), DOVETAIL_D4(11), DOVETAIL_D4(12), \
      DOVETAIL_D4(13), DOVETAIL_D4(14), DOVETAIL_D4(15)
#define DOVETAIL_LIST8 "{%0, %1, %2, %3, %4, %5, %6, %7}"
#define DOVETAIL_LIST16 "{%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15}"
#define DOVETAIL_LIST32                                                     \
  "{%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, " \
  "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31}"
#define DOVETAIL_LIST64                                                              \
  "{%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "          \
  "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, " \
  "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, " \
  "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63}"

// d = A B, or d += A B: A and B in shared memory, elements along k. A starts at the warpgroup's rows.
template <class T, int N>
DOVETAIL_DEVICE void wgmma(float (&d)[N / 8][4], const SharedMatrix& a, const SharedMatrix& b,
                           bool accumulate DOVETAIL_SITE) {
  static_assert(N == 64 || N == 128);
#if defined(DOVETAIL_SIMT_HOST)
  wgmma_twin<T, N>(d, a, b, /*by_k=*/false, accumulate, site);
#elif defined(__CUDA_ARCH_FEAT_SM90_ALL)
#define DOVETAIL_WGMMA(shape_and_types, list, operands, da, db, on)                          \
  asm volatile("{ .reg .pred on; setp.ne.b32 on, " on                                        \
               ", 0; wgmma.mma_async.sync.aligned." shape_and_types " " list ", " da ", " db \
               ", on, 1, 1, 0, 0; }"                                                         \
               : operands                                                                    \
               : "l"(a.bits), "l"(b.bits), "r"(static_cast<uint32_t>(accumulate)))
  if constexpr (N == 64 && kIsHalf<T>) {
    DOVETAIL_WGMMA("m64n64k16.f32.f16.f16", DOVETAIL_LIST32, DOVETAIL_D32, "%32", "%33", "%34");
  } else if constexpr (N == 64) {
    DOVETAIL_WGMMA("m64n64k16.f32.bf16.bf16", DOVETAIL_LIST32, DOVETAIL_D32, "%32", "%33", "%34");
  } else if constexpr (kIsHalf<T>) {
    DOVETAIL_WGMMA("m64n128k16.f32.f16.f16", DOVETAIL_LIST64, DOVETAIL_D64, "%64", "%65", "%66");
  } else {
    DOVETAIL_WGMMA("m64n128k16.f32.bf16.bf16", DOVETAIL_LIST64, DOVETAIL_D64, "%64", "%65", "%66");
  }
#else
  (void)d, (void)a, (void)b, (void)accumulate;
  __trap();
#endif
}

// d += A B: A in registers, B in shared memory, along k or by k.
template <class T, int N, bool ByK = true>
DOVETAIL_DEVICE void wgmma(float (&d)[N / 8][4], const uint32_t (&a)[4],
                           const SharedMatrix& b DOVETAIL_SITE) {
  static_assert(N == 16 || N == 32 || N == 64 || N == 128);
#if defined(DOVETAIL_SIMT_HOST)
  wgmma_twin<T, N>(d, a, b, ByK, true, site);
#elif defined(__CUDA_ARCH_FEAT_SM90_ALL)
// `sums` registers of D come first in the list of operands.
#define DOVETAIL_WGMMA_A_OF(types, n, sums, regs, db, by_k)                               \
  asm volatile("wgmma.mma_async.sync.aligned.m64n" #n "k16" types " " DOVETAIL_LIST##sums \
               ", " regs ", " db ", 1, 1, 1, " by_k ";"                                   \
               : DOVETAIL_D##sums                                                         \
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b.bits), "n"(ByK ? 1 : 0))
#define DOVETAIL_WGMMA_A(...)                           \
  if constexpr (kIsHalf<T>) {                           \
    DOVETAIL_WGMMA_A_OF(".f32.f16.f16", __VA_ARGS__);   \
  } else {                                              \
    DOVETAIL_WGMMA_A_OF(".f32.bf16.bf16", __VA_ARGS__); \
  }
  if constexpr (N == 16) {
    DOVETAIL_WGMMA_A(16, 8, "{%8, %9, %10, %11}", "%12", "%13")
  } else if constexpr (N == 32) {
    DOVETAIL_WGMMA_A(32, 16, "{%16, %17, %18, %19}", "%20", "%21")
  } else if constexpr (N == 64) {
    DOVETAIL_WGMMA_A(64, 32, "{%32, %33, %34, %35}", "%36", "%37")
  } else {
    DOVETAIL_WGMMA_A(128, 64, "{%64, %65, %66, %67}", "%68", "%69")
  }
#else
  (void)d, (void)a, (void)b;
  __trap();
#endif
}

// Before the first product that touches registers which the program wrote.
DOVETAIL_DEVICE void fence_wgmma() {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
#endif
}
DOVETAIL_DEVICE void commit_wgmma() {
#if defined(DOVETAIL_SIMT_HOST)
  simt::commit(simt::Pipe::kProduct);
#elif defined(__CUDA_ARCH_FEAT_SM90_ALL)
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
#endif
}
// Waits until at most Pending of the youngest groups run: their A and B may be written again.
template <int Pending>
DOVETAIL_DEVICE void wait_wgmma() {
#if defined(DOVETAIL_SIMT_HOST)
  simt::wait(simt::Pipe::kProduct, Pending);
#elif defined(__CUDA_ARCH_FEAT_SM90_ALL)
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(Pending) : "memory");
#endif
}
// The same; `d` is what the finished ones wrote.
template <int Pending, int Count>
DOVETAIL_DEVICE void wait_wgmma([[maybe_unused]] float (&d)[Count][4]) {
  wait_wgmma<Pending>();
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  DOVETAIL_UNROLL
  for (int n = 0; n < Count; ++n) asm volatile("" : DOVETAIL_D4(n)::"memory");
#endif
}

// What this thread wrote to shared memory becomes visible to wgmma, once a barrier orders them.
DOVETAIL_DEVICE void fence_shared_for_wgmma() {
#if defined(DOVETAIL_SIMT_HOST)
  simt::fence_for_products();
#elif defined(__CUDA_ARCH_FEAT_SM90_ALL)
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
#endif
}

// Registers a thread of this warpgroup may use from here on, a multiple of 8; all of it calls.
template <int Count>
DOVETAIL_DEVICE void give_up_registers() {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(Count));
#endif
}
template <int Count>
DOVETAIL_DEVICE void take_registers() {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(Count));
#endif
}

}  // namespace dovetail::ptx
