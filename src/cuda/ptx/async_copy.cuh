// SPDX-License-Identifier: Apache-2.0
// cp.async: global to shared memory without passing through registers. The bytes may land at any
// time between the copy and the issuing thread's wait on its group; other threads see them only
// after that wait AND a barrier. On the host model they land at the wait, never earlier, and
// touching the destination in between is reported. Both addresses are aligned to the copy's size.
#pragma once

#include "cuda/ptx/platform.cuh"

namespace dovetail::ptx {

// Copies the first `source_bytes` of 16 bytes and zero-fills the rest; source_bytes = 0 reads
// nothing (the source pointer may then be anything). Cached in L2 only: for data a block reads
// once. The 128-byte prefetch hint suits rows that are read to their end.
DOVETAIL_DEVICE void copy_async_16(void* shared, const void* global,
                                   uint32_t source_bytes = 16 DOVETAIL_SITE) {
#if defined(DOVETAIL_SIMT_HOST)
  simt::copy_async(shared, global, 16, source_bytes, site);
#else
  asm volatile(
      "cp.async.cg.shared.global.L2::128B [%0], [%1], 16, %2;" ::"r"(shared_address(shared)),
      "l"(global), "r"(source_bytes)
      : "memory");
#endif
}

// Of memory that may hold anything by now: nobody wrote it, or another block does meanwhile, and the
// caller masks what comes. The host model gives such bytes as 0xff (NaN in every float format).
DOVETAIL_DEVICE void copy_async_16_ahead(void* shared, const void* global,
                                         uint32_t source_bytes = 16 DOVETAIL_SITE) {
#if defined(DOVETAIL_SIMT_HOST)
  simt::copy_async(shared, global, 16, source_bytes, site, /*ahead=*/true);
#else
  copy_async_16(shared, global, source_bytes);
#endif
}

// The same through L1, for data that several blocks of one multiprocessor read; Bytes = 4, 8 or 16.
template <int Bytes>
DOVETAIL_DEVICE void copy_async_cached(void* shared, const void* global,
                                       uint32_t source_bytes = Bytes DOVETAIL_SITE) {
  static_assert(Bytes == 4 || Bytes == 8 || Bytes == 16);
#if defined(DOVETAIL_SIMT_HOST)
  simt::copy_async(shared, global, Bytes, source_bytes, site);
#else
  asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;" ::"r"(shared_address(shared)),
               "l"(global), "n"(Bytes), "r"(source_bytes)
               : "memory");
#endif
}

// Closes the calling thread's current group (which may be empty).
DOVETAIL_DEVICE void copy_async_commit() {
#if defined(DOVETAIL_SIMT_HOST)
  simt::commit(simt::Pipe::kCopy);
#else
  asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}

// Waits until at most Pending of the calling thread's youngest groups are still in flight.
template <int Pending>
DOVETAIL_DEVICE void copy_async_wait() {
#if defined(DOVETAIL_SIMT_HOST)
  simt::wait(simt::Pipe::kCopy, Pending);
#else
  asm volatile("cp.async.wait_group %0;" ::"n"(Pending) : "memory");
#endif
}

}  // namespace dovetail::ptx
