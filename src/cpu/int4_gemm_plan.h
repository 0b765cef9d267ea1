// SPDX-License-Identifier: Apache-2.0
// How an int4 GEMM is cut into tasks: a pure function of the problem, the tier's tile heights and
// the thread count. Legend: M rows, K in, N out; a tile is `tile_rows` rows, a panel 16 columns.
//
//   for each pass of at most kPassRows rows:
//     1. pack:     tasks (tile, stretch of K)      -> packed activations in the workspace
//     2. multiply: tasks (row block, panel range)  -> output
//   task: for each panel, for each chunk of K (weights stay in L1), for each tile of the row block
//
// A row block's packed activations fit a core's L2 and are read once per panel; a panel's weights
// are read once per row block, so up to one block (M = 16 at least) memory gives every weight once.
#pragma once

#include <cstddef>
#include <cstdint>

#include "cpu/int4_gemm_kernels.h"
#include "dovetail/cpu.h"
#include "dovetail/int4_gemm.h"

namespace dovetail::cpu {

struct Int4GemmSchedule {
  ComputeMode mode = ComputeMode::kExact;  // kExact or kInt8
  int tile_rows = 1;
  int value_bytes = 4;          // of a packed activation
  std::int64_t pass_rows = 0;   // multiple of tile_rows unless one pass does it all
  std::int64_t block_rows = 0;  // multiple of tile_rows, at most kMaxBlockRows
  std::int64_t panels = 0;
  std::int64_t panels_per_task = 1;
  std::int64_t chunk_k = 0;    // multiple of group_size (and of 64), the last chunk may be shorter
  std::int64_t stretch_k = 0;  // K per packing task
  // Workspace offsets, from its start.
  std::size_t row_scales_offset = 0;
  std::size_t row_starts_offset = 0;
  std::size_t workspace_bytes = 0;
};

inline constexpr std::int64_t kPassRows = 512;
inline constexpr std::int64_t kMaxBlockRows = 128;
inline constexpr std::int64_t kMaxChunkK = 1024;  // 8 KB of weights

FloatFormat format_of(DataType type);

// For calls of m rows.
const Int4GemmKernels& int4_gemm_kernels(CpuTier tier, std::int64_t m);

Int4GemmSchedule schedule_int4_gemm(const Int4GemmProblem& problem, ComputeMode mode,
                                    const Int4GemmKernels& kernels, int threads);

}  // namespace dovetail::cpu
