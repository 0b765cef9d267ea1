// SPDX-License-Identifier: Apache-2.0
// A counter in global memory that needs no initial value: blocks that share a result count
// themselves, and the last one goes on. The word is {tag, 48 bits | count, 16 bits}.
//
//   look     early in every block, so that the answer is there when it is needed
//   claim    with that answer: garbage (no tag) becomes {tag, 0}; a word with the tag stays. A block
//            claims before it arrives, so every arrival finds the tag.
//   arrive   adds one and returns how many came before. Release and acquire: what the block wrote
//            before (through a barrier) is visible to those who arrive later.
//   leave    by the last one, after its arrival: {tag, 0} again, ready for the next launch.
//
// Garbage that happens to hold the tag would be counted from: 1 in 2^48 for any word.
#pragma once

#include "cuda/ptx/platform.cuh"

namespace dovetail::ptx {

inline constexpr uint64_t kArrivalTag = 0xd07e7a11c0deull;

DOVETAIL_DEVICE uint64_t look_at_arrivals([[maybe_unused]] const uint64_t* word) {
#if defined(DOVETAIL_SIMT_HOST)
  return 0;
#else
  uint64_t found;
  asm volatile("ld.relaxed.gpu.global.u64 %0, [%1];" : "=l"(found) : "l"(word));
  return found;
#endif
}

DOVETAIL_DEVICE void claim_arrivals(uint64_t* word, [[maybe_unused]] uint64_t found DOVETAIL_SITE) {
#if defined(DOVETAIL_SIMT_HOST)
  simt::claim(word, kArrivalTag << 16, ~uint64_t{0xffff}, site);
#else
  if (found >> 16 != kArrivalTag) {
    asm volatile(
        "{ .reg .b64 old; atom.relaxed.gpu.global.cas.b64 old, [%0], %1, %2; }" ::"l"(word),
        "l"(found), "l"(kArrivalTag << 16)
        : "memory");
  }
#endif
}

DOVETAIL_DEVICE uint32_t arrive(uint64_t* word DOVETAIL_SITE) {
#if defined(DOVETAIL_SIMT_HOST)
  // The count is in the low half, and carries no further.
  return simt::atomic(reinterpret_cast<uint32_t*>(word), simt::AtomicOp::kAddAcquireRelease, 1,
                      site) &
         0xffff;
#else
  uint64_t old;
  asm volatile("atom.add.acq_rel.gpu.global.u64 %0, [%1], 1;" : "=l"(old) : "l"(word) : "memory");
  return static_cast<uint32_t>(old) & 0xffff;
#endif
}

DOVETAIL_DEVICE void leave_arrivals(uint64_t* word) {
  *word = kArrivalTag << 16;
}

}  // namespace dovetail::ptx
