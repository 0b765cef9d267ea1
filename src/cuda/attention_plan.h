// SPDX-License-Identifier: Apache-2.0
// How attention runs on a GPU: tile, splits of the keys, grid, workspace. A pure function of the
// problem and the device, in host code. It knows capacities, not lengths: the grid is sized for
// full lanes, and blocks that a call's lengths leave without work return at once, so one captured
// graph serves every length.
//
//   row blocks  the S * group rows of a KV head, in blocks of the tile's rows
//   splits      when row blocks * Hk * B leave multiprocessors idle, the keys are cut too; a lane
//               uses as many splits as its own length deserves
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "cuda/attention_tile.h"
#include "dovetail/attention.h"
#include "dovetail/cuda.h"

namespace dovetail::cuda {

// A shorter split costs more in folding than it saves in reading (H100, 1k keys, 32/8/128: 8.9 us
// with 64, 9.4 with 128, 11.3 with 256).
inline constexpr int kLeastSplitKeys = 64;

struct AttentionWorkspace {
  std::size_t tree_mask, arrivals, partial_tops, partial_sums;  // offsets, 256-aligned
  std::size_t bytes;
};

struct AttentionSchedule {
  AttentionProblem problem;
  int tile = 0;    // index into kAttentionTiles
  int wgmma = -1;  // index into kAttentionWgmmaTiles; -1: mma.sync, tile above
  int shared_bytes = 0;
  std::int64_t row_blocks = 0;
  int splits = 1;
  bool heads_first = false;                          // order of the row blocks
  int least_tiles = 1;                               // stages of keys that a split gets at least
  std::int64_t prepare_blocks = 0, copy_blocks = 0;  // grid x of the other two kernels
  AttentionWorkspace workspace{};
  int cluster_shift = 0;         // 2^it splits are a cluster, which folds them in shared memory
  bool fused = false;            // one new token a lane: no pre-pass
  bool folds = false;            // split keys of many rows: a kernel of its own folds them
  bool overlap_kernels = false;  // programmatic dependent launch
};

Result<AttentionSchedule> schedule_attention(const AttentionProblem& problem,
                                             const CudaDevice& device);
std::string describe(const AttentionSchedule& schedule);

// Only launches. prepare, once per schedule and device, lifts the kernel's shared-memory limit.
Status prepare_attention(const AttentionSchedule& schedule);
Status run_attention(const AttentionSchedule& schedule, const AttentionBuffers& buffers,
                     void* stream);

}  // namespace dovetail::cuda
