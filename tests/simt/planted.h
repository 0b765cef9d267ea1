// SPDX-License-Identifier: Apache-2.0
// Small kernels, each with one bug that can be switched on. The bug's line ends in a marker comment
// that the test looks for in the report. Every kernel has one block size: kThreads, unless said.
#pragma once

#include <cstdint>

#include "dovetail/status.h"

namespace dovetail::simt_test {

inline constexpr int kThreads = 64;

enum class Bug {
  kNone,
  kMissingBarrier,           // a neighbour's shared value is read without sync_threads
  kMissingWarpBarrier,       // the same inside a warp, without sync_warp
  kMissingWait,              // copy_async data is read without copy_async_wait
  kMissingBarrierAfterWait,  // another thread's copy_async data is read after the own wait only
  kUnfinishedCopy,           // the kernel ends with a copy in flight
  kOutOfBoundsShared,        // one element beyond dynamic shared memory
  kOutOfBoundsStatic,
  kOutOfBoundsGlobal,
  kUninitialisedShared,
  kUninitialisedGlobal,
  kMisaligned,
  kDivergentBarrier,  // half of the block takes another sync_threads
  kEarlyExit,         // one thread returns before sync_threads
  kDivergentWarp,     // lanes of a warp at different shuffles
  kDeadlock,          // a named barrier that waits for a warp that never comes
  kWriteAfterRead,    // a shared tile is overwritten while another warp still reads it
};

struct Parameters {
  Bug bug;
  const uint32_t* in;  // [blocks * kThreads]
  uint32_t* out;       // [blocks * kThreads], the neighbour's value
};

// Rotates the block's values by one through shared memory; `in` through copy_async.
Status rotate(const Parameters& p, uint32_t blocks);

// C = A * B for 16x16, 16x8 (n by k) halves through ldmatrix and mma; one warp.
enum class FragmentBug { kNone, kSwappedA, kWrongColumn };
struct ProductParameters {
  FragmentBug bug;
  const uint16_t* a;  // [16, 16]
  const uint16_t* b;  // [8, 16]
  float* c;           // [16, 8]
};
Status product(const ProductParameters& p);

// D = A * B through wgmma, A of ones and in registers, B swizzled in shared memory; one warpgroup.
enum class ProductBug {
  kNone,
  kEarlyRead,      // the accumulators are read before the wait
  kEarlyWriteOfA,  // the registers are written before the wait
  kEarlyWriteOfB,  // another thread writes shared memory before the wait, through a barrier
  kUnfinished,     // the kernel ends without a wait
  kMissingFence,   // B is not made visible to the products
};
struct GroupProductParameters {
  ProductBug bug;
  const uint16_t* b;  // [64, 64], n by k
  float* d;           // [64, 64]
};
Status group_product(const GroupProductParameters& p);

// Each block writes its part; the last one to arrive adds them up. `fenced` switches the ordering.
enum class Ordering { kAcquireRelease, kFences, kNone };
struct LastBlockParameters {
  Ordering ordering;
  const uint32_t* in;  // [blocks]
  uint32_t* parts;     // [blocks]
  uint32_t* arrived;   // one zero
  uint32_t* sum;
  uint32_t blocks;
};
Status last_block_sum(const LastBlockParameters& p);

// Adds 1 to `value` of an earlier, overlapping kernel, with or without waiting for it.
struct DependentParameters {
  const uint32_t* value;
  uint32_t* out;
  bool wait;
};
Status dependent(const DependentParameters& p, bool overlap_previous);

// Each block of a cluster passes its values to the next one, each thread to the one before it.
enum class ClusterBug {
  kNone,
  kNoStart,      // the neighbour may not have started
  kNoBarrier,    // what a neighbour stored is read without a barrier
  kEarlyLeave,   // a block leaves while a neighbour still reads its memory
  kArriveTwice,  // without a wait between
};
struct ClusterParameters {
  ClusterBug bug;
  uint32_t blocks;     // of the cluster, and of the grid
  const uint32_t* in;  // [blocks * 32]
  uint32_t* out;       // [blocks * 32]
};
Status pass_on(const ClusterParameters& p);

// The same through mailboxes, 16 bytes a thread.
enum class MailBug {
  kNone,
  kNotOpened,
  kLost,     // one thread sends nothing
  kTooMuch,  // more than is expected
  kNoWait,   // for what has been sent
};
struct MailParameters {
  MailBug bug;
  uint32_t blocks;     // of the cluster, and of the grid
  const uint32_t* in;  // [blocks * 32]
  uint32_t* out;       // [blocks * 32]
};
Status send_on(const MailParameters& p);

// Times: `rounds` mma per warp / shuffles / shared-memory increments per thread.
struct WorkParameters {
  int mma = 0, shuffles = 0, increments = 0;
  float* out = nullptr;
};
Status work(const WorkParameters& p, uint32_t blocks);

}  // namespace dovetail::simt_test
