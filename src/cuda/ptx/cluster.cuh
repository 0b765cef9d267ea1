// SPDX-License-Identifier: Apache-2.0
// Thread block clusters (PTX ISA, "barrier.cluster" and "mapa"; sm_90 on): LaunchConfig's
// cluster_blocks neighbours along x run at the same time, meet at a barrier of their own, and read
// and write each other's shared memory. Below sm_90 a cluster is one block.
#pragma once

#include <bit>

#include "cuda/ptx/platform.cuh"

namespace dovetail::ptx {

// This block's place in its cluster.
DOVETAIL_DEVICE uint32_t cluster_rank() {
#if defined(DOVETAIL_SIMT_HOST)
  return simt::cluster_rank();
#elif DOVETAIL_ARCH >= 90
  uint32_t rank;
  asm("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
  return rank;
#else
  return 0;
#endif
}

// The barrier of all threads of all blocks, in two halves: what a thread wrote before cluster_arrive
// is seen by every thread behind its cluster_wait. One before the first access to a neighbour's
// memory (it must have started), one before a block leaves whose memory a neighbour uses.
DOVETAIL_DEVICE void cluster_arrive(DOVETAIL_SITE_ONLY) {
#if defined(DOVETAIL_SIMT_HOST)
  simt::cluster_arrive(site);
#elif DOVETAIL_ARCH >= 90
  asm volatile("barrier.cluster.arrive.release;" ::: "memory");
#endif
}

// The same for what was written to mailboxes alone.
DOVETAIL_DEVICE void cluster_arrive_relaxed(DOVETAIL_SITE_ONLY) {
#if defined(DOVETAIL_SIMT_HOST)
  simt::cluster_arrive(site);
#elif DOVETAIL_ARCH >= 90
  asm volatile("barrier.cluster.arrive.relaxed;" ::: "memory");
#endif
}

DOVETAIL_DEVICE void cluster_wait(DOVETAIL_SITE_ONLY) {
#if defined(DOVETAIL_SIMT_HOST)
  simt::cluster_wait(site);
#elif DOVETAIL_ARCH >= 90
  asm volatile("barrier.cluster.wait.acquire;" ::: "memory");
#endif
}

#if defined(__CUDACC__) && !defined(DOVETAIL_SIMT_HOST)
// The address, in the cluster's shared window, of what block `rank` keeps where this one keeps *own.
DOVETAIL_DEVICE uint32_t cluster_address(const void* own, uint32_t rank) {
  uint32_t address = shared_address(own);
#if DOVETAIL_ARCH >= 90
  asm("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(address) : "r"(shared_address(own)), "r"(rank));
#endif
  return address;
}
#endif

// T (4 or 16 bytes) from and to block `rank`'s shared memory, where this block keeps `own`.
template <class T>
DOVETAIL_DEVICE T load_cluster(const T* own, uint32_t rank DOVETAIL_SITE) {
  static_assert(sizeof(T) == 4 || sizeof(T) == 16);
#if defined(DOVETAIL_SIMT_HOST)
  return simt::load<T>(simt::cluster_address(own, rank, site), site);
#elif DOVETAIL_ARCH >= 90
  const uint32_t address = cluster_address(own, rank);
  if constexpr (sizeof(T) == 4) {
    uint32_t v;
    asm volatile("ld.shared::cluster.u32 %0, [%1];" : "=r"(v) : "r"(address) : "memory");
    return std::bit_cast<T>(v);
  } else {
    Vec4 v;
    asm volatile("ld.shared::cluster.v4.u32 {%0, %1, %2, %3}, [%4];"
                 : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
                 : "r"(address)
                 : "memory");
    return std::bit_cast<T>(v);
  }
#else
  return *own;
#endif
}

template <class T>
DOVETAIL_DEVICE void store_cluster(T* own, uint32_t rank, const Identity<T>& value DOVETAIL_SITE) {
  static_assert(sizeof(T) == 4 || sizeof(T) == 16);
#if defined(DOVETAIL_SIMT_HOST)
  simt::store<T>(simt::cluster_address(own, rank, site), value, site);
#elif DOVETAIL_ARCH >= 90
  const uint32_t address = cluster_address(own, rank);
  if constexpr (sizeof(T) == 4) {
    asm volatile("st.shared::cluster.u32 [%0], %1;" ::"r"(address),
                 "r"(std::bit_cast<uint32_t>(value))
                 : "memory");
  } else {
    const auto v = std::bit_cast<Vec4>(value);
    asm volatile("st.shared::cluster.v4.u32 [%0], {%1, %2, %3, %4};" ::"r"(address), "r"(v.x),
                 "r"(v.y), "r"(v.z), "r"(v.w)
                 : "memory");
  }
#else
  *own = value;
#endif
}

// A mailbox: neighbours post into this block's shared memory, and the block waits until all bytes it
// expects are there. Nothing else is ordered, so no fence is needed, which a barrier would cost (0.4 us
// on an H100). Once a launch: one thread opens it before a cluster barrier and says how much it expects
// at any time; posts come behind that barrier.
DOVETAIL_DEVICE void open_mailbox([[maybe_unused]] uint64_t* box DOVETAIL_SITE) {
#if defined(DOVETAIL_SIMT_HOST)
  simt::open_mailbox(box, site);
#elif DOVETAIL_ARCH >= 90
  asm volatile("mbarrier.init.shared.b64 [%0], 1;\nfence.mbarrier_init.release.cluster;" ::"r"(
                   shared_address(box))
               : "memory");
#endif
}

DOVETAIL_DEVICE void expect_mail([[maybe_unused]] uint64_t* box,
                                 [[maybe_unused]] uint32_t bytes DOVETAIL_SITE) {
#if defined(DOVETAIL_SIMT_HOST)
  simt::expect_mail(box, bytes, site);
#elif DOVETAIL_ARCH >= 90
  asm volatile("mbarrier.arrive.expect_tx.shared.b64 _, [%0], %1;" ::"r"(shared_address(box)),
               "r"(bytes)
               : "memory");
#endif
}

// 16 bytes to block `rank`, where this block keeps *own, in the mailbox that it keeps as `box`.
template <class T>
DOVETAIL_DEVICE void post(T* own, uint32_t rank, const Identity<T>& value,
                          [[maybe_unused]] uint64_t* box DOVETAIL_SITE) {
  static_assert(sizeof(T) == 16);
#if defined(DOVETAIL_SIMT_HOST)
  simt::store<T>(simt::cluster_address(own, rank, site), value, site);
  simt::post(simt::cluster_address(box, rank, site), sizeof(T), site);
#elif DOVETAIL_ARCH >= 90
  const auto v = std::bit_cast<Vec4>(value);
  asm volatile(
      "st.async.shared::cluster.mbarrier::complete_tx::bytes.v4.b32 [%0], {%1, %2, %3, %4}, "
      "[%5];" ::"r"(cluster_address(own, rank)),
      "r"(v.x), "r"(v.y), "r"(v.z), "r"(v.w), "r"(cluster_address(box, rank))
      : "memory");
#else
  *own = value;
#endif
}

DOVETAIL_DEVICE void wait_for_mail([[maybe_unused]] uint64_t* box DOVETAIL_SITE) {
#if defined(DOVETAIL_SIMT_HOST)
  simt::wait_for_mail(box, site);
#elif DOVETAIL_ARCH >= 90
  uint32_t done;
  do {
    asm volatile(
        "{ .reg .pred there; mbarrier.try_wait.parity.shared.b64 there, [%1], 0;\n"
        "selp.u32 %0, 1, 0, there; }"
        : "=r"(done)
        : "r"(shared_address(box))
        : "memory");
  } while (done == 0);
#endif
}

}  // namespace dovetail::ptx
