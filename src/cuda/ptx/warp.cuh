// SPDX-License-Identifier: Apache-2.0
// Exchange and barriers. Warp operations take the mask of the lanes that take part; every lane
// named in the mask must reach the same call. Shuffles and votes exchange registers only: they
// order no memory access. sync_warp orders memory inside the warp, sync_threads and named barriers
// inside the block.
#pragma once

#include <bit>

#include "cuda/ptx/platform.cuh"

namespace dovetail::ptx {

inline constexpr uint32_t kAllLanes = 0xffffffffu;

enum class ShuffleMode { kIndex, kXor, kDown, kUp };

// The value of lane `lane_argument` (kIndex), lane ^ argument, lane + argument, lane - argument. A
// source outside 0 .. 31 gives the caller's own value. T is any 4-byte type.
template <ShuffleMode Mode, class T>
DOVETAIL_DEVICE T shuffle_by(T value, uint32_t argument, uint32_t mask DOVETAIL_SITE) {
  static_assert(sizeof(T) == 4);
#if defined(DOVETAIL_SIMT_HOST)
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  return std::bit_cast<T>(simt::shuffle(bits, static_cast<int>(Mode), argument, mask, site));
#else
  if constexpr (Mode == ShuffleMode::kIndex) return __shfl_sync(mask, value, argument);
  if constexpr (Mode == ShuffleMode::kXor) return __shfl_xor_sync(mask, value, argument);
  if constexpr (Mode == ShuffleMode::kDown) return __shfl_down_sync(mask, value, argument);
  if constexpr (Mode == ShuffleMode::kUp) return __shfl_up_sync(mask, value, argument);
#endif
}

#if defined(DOVETAIL_SIMT_HOST)
#define DOVETAIL_PASS_SITE , site
#else
#define DOVETAIL_PASS_SITE
#endif

template <class T>
DOVETAIL_DEVICE T shuffle(T value, uint32_t lane, uint32_t mask = kAllLanes DOVETAIL_SITE) {
  return shuffle_by<ShuffleMode::kIndex>(value, lane, mask DOVETAIL_PASS_SITE);
}
template <class T>
DOVETAIL_DEVICE T shuffle_xor(T value, uint32_t bits, uint32_t mask = kAllLanes DOVETAIL_SITE) {
  return shuffle_by<ShuffleMode::kXor>(value, bits, mask DOVETAIL_PASS_SITE);
}
template <class T>
DOVETAIL_DEVICE T shuffle_down(T value, uint32_t by, uint32_t mask = kAllLanes DOVETAIL_SITE) {
  return shuffle_by<ShuffleMode::kDown>(value, by, mask DOVETAIL_PASS_SITE);
}
template <class T>
DOVETAIL_DEVICE T shuffle_up(T value, uint32_t by, uint32_t mask = kAllLanes DOVETAIL_SITE) {
  return shuffle_by<ShuffleMode::kUp>(value, by, mask DOVETAIL_PASS_SITE);
}

// Bit i = the predicate of lane i, for the lanes in mask.
DOVETAIL_DEVICE uint32_t ballot(bool predicate, uint32_t mask = kAllLanes DOVETAIL_SITE) {
#if defined(DOVETAIL_SIMT_HOST)
  return simt::ballot(predicate, mask, site);
#else
  return __ballot_sync(mask, predicate);
#endif
}

DOVETAIL_DEVICE bool any(bool predicate, uint32_t mask = kAllLanes DOVETAIL_SITE) {
#if defined(DOVETAIL_SIMT_HOST)
  return simt::ballot(predicate, mask, site) != 0;
#else
  return __any_sync(mask, predicate);
#endif
}

DOVETAIL_DEVICE bool all(bool predicate, uint32_t mask = kAllLanes DOVETAIL_SITE) {
#if defined(DOVETAIL_SIMT_HOST)
  return simt::ballot(predicate, mask, site) == mask;
#else
  return __all_sync(mask, predicate);
#endif
}

DOVETAIL_DEVICE void sync_warp(uint32_t mask = kAllLanes DOVETAIL_SITE) {
#if defined(DOVETAIL_SIMT_HOST)
  simt::sync_warp(mask, site);
#else
  __syncwarp(mask);
#endif
}

// All threads of the block, from one source line.
DOVETAIL_DEVICE void sync_threads(DOVETAIL_SITE_ONLY) {
#if defined(DOVETAIL_SIMT_HOST)
  simt::sync_threads(site);
#else
  __syncthreads();
#endif
}

// Barrier `id` (1 .. 15; 0 belongs to sync_threads) of `threads` threads, a multiple of the warp
// size. barrier_sync waits for the others, barrier_arrive only counts (a producer's half).
DOVETAIL_DEVICE void barrier_sync(uint32_t id, uint32_t threads DOVETAIL_SITE) {
#if defined(DOVETAIL_SIMT_HOST)
  simt::named_barrier(id, threads, /*wait=*/true, site);
#else
  asm volatile("bar.sync %0, %1;" ::"r"(id), "r"(threads) : "memory");
#endif
}

DOVETAIL_DEVICE void barrier_arrive(uint32_t id, uint32_t threads DOVETAIL_SITE) {
#if defined(DOVETAIL_SIMT_HOST)
  simt::named_barrier(id, threads, /*wait=*/false, site);
#else
  asm volatile("bar.arrive %0, %1;" ::"r"(id), "r"(threads) : "memory");
#endif
}

// Programmatic dependent launch (LaunchConfig::overlap_previous). Nothing that an earlier kernel
// writes may be touched before wait_for_previous_kernel; below sm_90, without overlap, both are
// no-ops.
DOVETAIL_DEVICE void wait_for_previous_kernel() {
#if defined(DOVETAIL_SIMT_HOST)
  simt::wait_for_previous_kernel();
#elif DOVETAIL_ARCH >= 90
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

DOVETAIL_DEVICE void let_next_kernel_start() {
#if DOVETAIL_ARCH >= 90
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

}  // namespace dovetail::ptx
