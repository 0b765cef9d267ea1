// SPDX-License-Identifier: Apache-2.0
// How an int4 GEMM runs on a GPU: tile, split of K, workspace, grid. A pure function of the problem
// and the device, in host code.
//
// Legend: M rows, K in, N out, G group size. A slab is 64 k. A block computes `rows` x `columns`
// outputs over its share of the slabs, `warps_k` slabs a pipeline stage:
//
//     output   <- columns ->       warps_m x warps_n warps cover the block's outputs, 32 columns
//            +---------------+     and 16 * row_tiles rows each; warps_k such sets share the slabs
//       rows | block (x, y)  |     of a stage and add their sums at the end
//            +---------------+
//
// When the outputs give fewer blocks than the GPU holds, K is split over `splits` blocks (grid z);
// each writes fp32 sums to the workspace and a second kernel adds them in the order of k. So the
// result never depends on timing, and the workspace need not be cleared.
//
// Few rows (Int4GemmFewRowsTile) and wgmma (Int4GemmMiddleRowsTile, Int4GemmWarpgroupTile) have
// kernels of their own, with their pictures there; they take the problems that suits_few_rows and
// suits_wgmma name.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "cuda/swiglu_plan.h"
#include "dovetail/cuda.h"
#include "dovetail/int4_gemm.h"

namespace dovetail::cuda {

enum class Int4GemmKernel {
  kRowTiles,    // any problem, on any GPU: the tiles below
  kFewRows,     // up to 16 rows: int4_gemm_few_rows_kernel.cuh
  kMiddleRows,  // up to 64, on sm_90: int4_gemm_middle_rows_kernel.cuh
  kWarpgroup,   // more, on sm_90: int4_gemm_warpgroup_kernel.cuh
};

inline constexpr int kSlab = 64;
inline constexpr int kWarpColumns = 32;

struct Int4GemmTile {
  int row_tiles, warps_m, warps_n, warps_k, stages;
  int blocks;  // that a multiprocessor holds at once: the kernel's register budget

  constexpr int rows() const { return 16 * row_tiles * warps_m; }
  constexpr int columns() const { return kWarpColumns * warps_n; }
  constexpr int threads() const { return 32 * warps_m * warps_n * warps_k; }
};

// 16 rows: one token or a small tree; the weights stream through 6 short stages. 128 rows: prefill;
// a warp's 64 x 32 outputs read shared memory slower than the tensor cores multiply.
inline constexpr Int4GemmTile kInt4GemmTiles[] = {
    {.row_tiles = 1, .warps_m = 1, .warps_n = 2, .warps_k = 2, .stages = 6, .blocks = 4},
    {.row_tiles = 2, .warps_m = 1, .warps_n = 2, .warps_k = 2, .stages = 4, .blocks = 3},
    {.row_tiles = 2, .warps_m = 2, .warps_n = 2, .warps_k = 1, .stages = 4, .blocks = 3},
    {.row_tiles = 4, .warps_m = 2, .warps_n = 4, .warps_k = 1, .stages = 4, .blocks = 1},
};
inline constexpr int kInt4GemmTileCount = 4;
// fp32 activations take twice the shared memory and three products each: no 128-row tile.
inline constexpr int kInt4GemmTileCountFp32 = 3;

// Shared memory of one stage, in this order:
//   activations [warps_k, rows, 64], weights [warps_k, columns, 32 bytes],
//   scales [warps_k, 2 groups, columns] in 4 bytes each, zero points [warps_k, 2 groups, columns].
struct Int4GemmStage {
  int weights, scales, zero_points, bytes;  // offsets, and the end
};
constexpr Int4GemmStage int4_gemm_stage(const Int4GemmTile& t, int element_bytes) {
  const int weights = t.warps_k * t.rows() * kSlab * element_bytes;
  const int scales = weights + t.warps_k * t.columns() * 32;
  const int zero_points = scales + t.warps_k * 2 * t.columns() * 4;
  return {weights, scales, zero_points, zero_points + t.warps_k * 2 * t.columns()};
}
constexpr int int4_gemm_shared_bytes(const Int4GemmTile& t, int element_bytes) {
  return t.stages * int4_gemm_stage(t, element_bytes).bytes;
}

// fp32 activations need twice the shared memory and more registers.
constexpr int int4_gemm_blocks(const Int4GemmTile& t, int element_bytes) {
  return element_bytes == 4 ? 2 : t.blocks;
}

// Few rows: a block owns 16 * tiles columns; its warps share K, a step of 128 k at a time, and load the
// weights `depth` steps ahead. Up to 8 * token_tiles rows, groups of least_group .. most_group.
struct Int4GemmFewRowsTile {
  int tiles, token_tiles, depth;
  int most_warps;  // the kernel's register budget: a multiprocessor holds so many
  int least_group, most_group;

  constexpr bool takes_group(int group_size) const {
    return least_group <= group_size && group_size <= most_group;
  }
};
// From narrow to wide. Smaller groups than 128 need more registers.
inline constexpr Int4GemmFewRowsTile kInt4GemmFewRowsTiles[] = {
    {.tiles = 1,
     .token_tiles = 1,
     .depth = 2,
     .most_warps = 16,
     .least_group = 32,
     .most_group = 128},
    {.tiles = 1,
     .token_tiles = 2,
     .depth = 1,
     .most_warps = 16,
     .least_group = 32,
     .most_group = 128},
    {.tiles = 2,
     .token_tiles = 1,
     .depth = 1,
     .most_warps = 16,
     .least_group = 32,
     .most_group = 128},
    {.tiles = 2,
     .token_tiles = 2,
     .depth = 2,
     .most_warps = 8,
     .least_group = 32,
     .most_group = 32},
    {.tiles = 2,
     .token_tiles = 2,
     .depth = 1,
     .most_warps = 12,
     .least_group = 64,
     .most_group = 128},
    {.tiles = 4,
     .token_tiles = 1,
     .depth = 1,
     .most_warps = 12,
     .least_group = 32,
     .most_group = 64},
    {.tiles = 4,
     .token_tiles = 1,
     .depth = 1,
     .most_warps = 16,
     .least_group = 128,
     .most_group = 128},
    {.tiles = 4,
     .token_tiles = 2,
     .depth = 1,
     .most_warps = 8,
     .least_group = 128,
     .most_group = 128},
};
inline constexpr int kInt4GemmFewRowsTileCount =
    sizeof(kInt4GemmFewRowsTiles) / sizeof(kInt4GemmFewRowsTiles[0]);
inline constexpr int kFewRowsStep = 128;

// A warp's ring for activations, scales and zero points of a step.
constexpr int int4_gemm_few_rows_slots(int token_tiles) {
  return token_tiles == 1 ? 4 : 2;
}

// wgmma: a block computes `tokens` rows x 64 * atoms * warpgroups columns of the output, `slabs`
// slabs a stage; see the kernel's head. slab_ns: what a slab takes on an H100, all of it at work.
struct Int4GemmWarpgroupTile {
  int tokens, atoms, slabs, stages, lag, slab_ns;
  int warpgroups = 2, blocks = 1;

  constexpr int columns() const { return 64 * atoms * warpgroups; }
  constexpr int threads() const { return 128 * (warpgroups + 1); }
  constexpr int stage_k() const { return slabs * kSlab; }
};
// Offsets in the constants of a stage, in bytes.
struct Int4GemmWarpgroupStage {
  int activation_bytes, scales, zero_points, constant_bytes;
};
constexpr Int4GemmWarpgroupStage int4_gemm_warpgroup_stage(const Int4GemmWarpgroupTile& t,
                                                           bool is_plain) {
  const int scales = t.slabs * t.columns() * 32;
  const int groups = is_plain ? t.slabs : 2 * t.slabs;
  const int zero_points = scales + groups * t.columns() * 2;
  return {t.slabs * t.tokens * kSlab * 2, scales, zero_points,
          zero_points + (is_plain ? 0 : groups * t.columns())};
}
// The ring, aligned to 1024 bytes inside, and room for the sums of each consumer on their way out.
inline constexpr int kWarpgroupSumBytes = 32 * 136 * 2;
constexpr int int4_gemm_warpgroup_shared_bytes(const Int4GemmWarpgroupTile& t, bool is_plain) {
  const Int4GemmWarpgroupStage stage = int4_gemm_warpgroup_stage(t, is_plain);
  return 1024 + t.stages * (stage.activation_bytes + stage.constant_bytes) +
         t.warpgroups * kWarpgroupSumBytes;
}
inline constexpr Int4GemmWarpgroupTile kInt4GemmWarpgroupTiles[] = {
    {.tokens = 64, .atoms = 1, .slabs = 2, .stages = 6, .lag = 2, .slab_ns = 345},
    {.tokens = 64, .atoms = 2, .slabs = 2, .stages = 5, .lag = 2, .slab_ns = 548},
    {.tokens = 128, .atoms = 1, .slabs = 2, .stages = 5, .lag = 1, .slab_ns = 489},
    {.tokens = 128, .atoms = 2, .slabs = 2, .stages = 4, .lag = 1, .slab_ns = 807},
};
inline constexpr int kInt4GemmWarpgroupTileCount =
    sizeof(kInt4GemmWarpgroupTiles) / sizeof(kInt4GemmWarpgroupTiles[0]);
// Plain, for both wgmma kernels.
constexpr bool is_plain_wgmma(const Int4GemmAttributes& a) {
  return a.has_zero_points == 0 && a.group_size != 32;
}

// Middle rows: a block computes up to `tokens` rows x 64 * atoms columns; its warpgroups share K, and
// each has `producers` warps that fetch its activations.
inline constexpr int kMostMiddleRows = 64;
inline constexpr int kMiddleRowsProducers = 8;  // warps
inline constexpr int kMiddleRowsRing = 4;       // slabs of weights
struct Int4GemmMiddleRowsTile {
  int tokens, atoms, producers, slab_ns;
  int warpgroups = 2;

  constexpr int columns() const { return 64 * atoms; }
  constexpr int threads() const { return 128 * warpgroups + 32 * kMiddleRowsProducers; }
  constexpr int slots() const { return producers + 2; }  // of a warpgroup
};
// A stage of 128 k: bytes of activations; offset of zero points behind the scales, and the end.
struct Int4GemmMiddleRowsStage {
  int activation_bytes, zero_points, constant_bytes;
};
constexpr Int4GemmMiddleRowsStage int4_gemm_middle_rows_stage(const Int4GemmMiddleRowsTile& t,
                                                              bool is_plain) {
  const int groups = is_plain ? 2 : 4, scales = groups * t.columns() * 2;
  return {2 * t.tokens * kSlab * 2, scales, scales + (is_plain ? 0 : groups * t.columns())};
}
// The rings, aligned to 1024 bytes inside; that of the activations later holds the sums.
constexpr int int4_gemm_middle_rows_shared_bytes(const Int4GemmMiddleRowsTile& t, bool is_plain) {
  const Int4GemmMiddleRowsStage stage = int4_gemm_middle_rows_stage(t, is_plain);
  return 1024 + t.warpgroups * (t.slots() * (stage.activation_bytes + stage.constant_bytes) +
                                kMiddleRowsRing * t.columns() * 32);
}
inline constexpr Int4GemmMiddleRowsTile kInt4GemmMiddleRowsTiles[] = {
    {.tokens = 16, .atoms = 1, .producers = 4, .slab_ns = 106},
    {.tokens = 16, .atoms = 2, .producers = 4, .slab_ns = 177},
    {.tokens = 32, .atoms = 1, .producers = 4, .slab_ns = 121},
    {.tokens = 32, .atoms = 2, .producers = 4, .slab_ns = 202},
    {.tokens = 64, .atoms = 1, .producers = 4, .slab_ns = 162},
    {.tokens = 64, .atoms = 2, .producers = 3, .slab_ns = 282},
};
inline constexpr int kInt4GemmMiddleRowsTileCount =
    sizeof(kInt4GemmMiddleRowsTiles) / sizeof(kInt4GemmMiddleRowsTiles[0]);

struct Int4GemmSchedule {
  Int4GemmProblem problem;
  Int4GemmKernel kernel = Int4GemmKernel::kRowTiles;
  int tile = 0;  // index into the kernel's table
  int splits = 1;
  std::int64_t slabs = 0, slabs_per_split = 0;
  std::int64_t blocks_m = 0, blocks_n = 0;
  std::int64_t grid =
      0;  // kMiddleRows, kWarpgroup: blocks, which for the latter take shares in turn
  int warps = 0, slot_bytes = 0;  // kFewRows
  int shared_bytes = 0;
  std::size_t workspace_bytes = 0;
  bool overlap_kernels = false;  // programmatic dependent launch
  // With swiglu, kFewRows multiplies gate and up itself; behind the others it is a launch of its own,
  // from [M, N] at this offset of the workspace.
  std::optional<SwigluSchedule> swiglu = {};
  std::size_t gate_up_offset = 0;
};

// `only`: no other kernel (for tests and measurements).
Result<Int4GemmSchedule> schedule_int4_gemm(const Int4GemmProblem& problem,
                                            const CudaDevice& device,
                                            std::optional<Int4GemmKernel> only = {});
std::string describe(const Int4GemmSchedule& schedule);
// What no device of this kind with at most so many multiprocessors needs more than, for this M. The
// wgmma kernel's tile changes with both in ways that no search over M foresees.
std::size_t most_int4_gemm_workspace(const Int4GemmProblem& problem, const CudaDevice& device);

// Only launches. prepare, once per schedule and device, lifts the kernel's shared-memory limit.
Status prepare_int4_gemm(const Int4GemmSchedule& schedule);
Status run_int4_gemm(const Int4GemmSchedule& schedule, const Int4GemmBuffers& buffers,
                     void* stream);

}  // namespace dovetail::cuda
