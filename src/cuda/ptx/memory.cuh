// SPDX-License-Identifier: Apache-2.0
// Global memory with a cache policy, and communication between blocks: acquire / release, atomics,
// fences. Plain loads and stores need no wrapper. Scope is the GPU throughout.
#pragma once

#include <bit>

#include "cuda/ptx/platform.cuh"

namespace dovetail::ptx {

#if defined(__CUDACC__) && !defined(DOVETAIL_SIMT_HOST)
#define DOVETAIL_LOAD_16(instruction, v, address)                   \
  asm volatile(instruction " {%0, %1, %2, %3}, [%4];"               \
               : "=r"((v).x), "=r"((v).y), "=r"((v).z), "=r"((v).w) \
               : "l"(address))
#endif

// Read-only for the whole kernel (non-coherent path), T of 4, 8 or 16 bytes: may be cached in L1.
DOVETAIL_DEVICE Vec4 load_constant_16(const void* address DOVETAIL_SITE) {
#if defined(DOVETAIL_SIMT_HOST)
  return simt::load<Vec4>(address, site);
#else
  Vec4 v;
  DOVETAIL_LOAD_16("ld.global.nc.v4.u32", v, address);
  return v;
#endif
}

DOVETAIL_DEVICE uint32_t load_constant_4(const void* address DOVETAIL_SITE) {
#if defined(DOVETAIL_SIMT_HOST)
  return simt::load<uint32_t>(address, site);
#else
  uint32_t v;
  asm volatile("ld.global.nc.u32 %0, [%1];" : "=r"(v) : "l"(address));
  return v;
#endif
}

// Read once by this multiprocessor: takes no place in L1. For weights and keys / values.
DOVETAIL_DEVICE Vec4 load_stream_16(const void* address DOVETAIL_SITE) {
#if defined(DOVETAIL_SIMT_HOST)
  return simt::load<Vec4>(address, site);
#else
  Vec4 v;
  DOVETAIL_LOAD_16("ld.global.nc.L1::no_allocate.L2::128B.v4.u32", v, address);
  return v;
#endif
}

// Read once by the whole GPU: no place in L1, first to leave L2. `policy` from
// evict_first_policy().
DOVETAIL_DEVICE uint64_t evict_first_policy() {
#if defined(DOVETAIL_SIMT_HOST)
  return 0;
#else
  uint64_t policy;
  asm("createpolicy.fractional.L2::evict_first.b64 %0, 1.0;" : "=l"(policy));
  return policy;
#endif
}

DOVETAIL_DEVICE Vec4 load_once_16(const void* address,
                                  [[maybe_unused]] uint64_t policy DOVETAIL_SITE) {
#if defined(DOVETAIL_SIMT_HOST)
  return simt::load<Vec4>(address, site);
#else
  Vec4 v;
  asm volatile("ld.global.nc.L1::no_allocate.L2::cache_hint.v4.u32 {%0, %1, %2, %3}, [%4], %5;"
               : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
               : "l"(address), "l"(policy));
  return v;
#endif
}

// Written once and read by a later kernel: streams through the caches.
DOVETAIL_DEVICE void store_stream_16(void* address, const Vec4& v DOVETAIL_SITE) {
#if defined(DOVETAIL_SIMT_HOST)
  simt::store(address, v, site);
#else
  asm volatile("st.global.cs.v4.u32 [%0], {%1, %2, %3, %4};" ::"l"(address), "r"(v.x), "r"(v.y),
               "r"(v.z), "r"(v.w)
               : "memory");
#endif
}

// Asks for the line in L2, where later writes are seen too: also before wait_for_previous_kernel.
DOVETAIL_DEVICE void prefetch_to_l2([[maybe_unused]] const void* address) {
#if !defined(DOVETAIL_SIMT_HOST)
  asm volatile("prefetch.global.L2 [%0];" ::"l"(address));
#endif
}

// What memory may hold, from L2: before wait_for_previous_kernel, for a guess that is checked later.
DOVETAIL_DEVICE int32_t guess([[maybe_unused]] const int32_t* address) {
#if defined(DOVETAIL_SIMT_HOST)
  return 1;
#else
  int32_t v;
  asm volatile("ld.relaxed.gpu.global.s32 %0, [%1];" : "=r"(v) : "l"(address));
  return v;
#endif
}

DOVETAIL_DEVICE uint32_t load_acquire(const uint32_t* address DOVETAIL_SITE) {
#if defined(DOVETAIL_SIMT_HOST)
  return simt::atomic(const_cast<uint32_t*>(address), simt::AtomicOp::kLoadAcquire, 0, site);
#else
  uint32_t v;
  asm volatile("ld.acquire.gpu.global.u32 %0, [%1];" : "=r"(v) : "l"(address) : "memory");
  return v;
#endif
}

DOVETAIL_DEVICE void store_release(uint32_t* address, uint32_t v DOVETAIL_SITE) {
#if defined(DOVETAIL_SIMT_HOST)
  simt::atomic(address, simt::AtomicOp::kStoreRelease, v, site);
#else
  asm volatile("st.release.gpu.global.u32 [%0], %1;" ::"l"(address), "r"(v) : "memory");
#endif
}

// Returns the value before the addition. Acquire and release: what this thread (and, through a
// barrier before the call, its block) wrote is visible to whoever adds later, and vice versa.
DOVETAIL_DEVICE uint32_t atomic_add_acquire_release(uint32_t* address, uint32_t v DOVETAIL_SITE) {
#if defined(DOVETAIL_SIMT_HOST)
  return simt::atomic(address, simt::AtomicOp::kAddAcquireRelease, v, site);
#else
  uint32_t old;
  asm volatile("atom.add.acq_rel.gpu.global.u32 %0, [%1], %2;"
               : "=r"(old)
               : "l"(address), "r"(v)
               : "memory");
  return old;
#endif
}

// Orders nothing but itself; combine with thread_fence.
DOVETAIL_DEVICE uint32_t atomic_add(uint32_t* address, uint32_t v DOVETAIL_SITE) {
#if defined(DOVETAIL_SIMT_HOST)
  return simt::atomic(address, simt::AtomicOp::kAdd, v, site);
#else
  return atomicAdd(address, v);
#endif
}

// float sum without a result. The order of the additions, and so the rounding, is not defined.
DOVETAIL_DEVICE void reduce_add(float* address, float v DOVETAIL_SITE) {
#if defined(DOVETAIL_SIMT_HOST)
  simt::atomic(reinterpret_cast<uint32_t*>(address), simt::AtomicOp::kAddFloat,
               std::bit_cast<uint32_t>(v), site);
#else
  asm volatile("red.relaxed.gpu.global.add.f32 [%0], %1;" ::"l"(address), "f"(v) : "memory");
#endif
}

DOVETAIL_DEVICE void thread_fence() {
#if defined(DOVETAIL_SIMT_HOST)
  simt::thread_fence();
#else
  __threadfence();
#endif
}

}  // namespace dovetail::ptx
