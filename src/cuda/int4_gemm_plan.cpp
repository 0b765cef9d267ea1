// SPDX-License-Identifier: Apache-2.0
#include "cuda/int4_gemm_plan.h"

#include <algorithm>

#include "cuda/int4_gemm_wgmma_plan.h"
#include "layout/int4_layout.h"
#include "ops/int4_gemm.h"
#include "ops/message.h"

namespace dovetail::cuda {
namespace {

// The shortest share of K that is worth a block: as many stages as the pipeline holds.
constexpr std::int64_t kLeastStagesPerSplit = 4;
constexpr std::int64_t kMostSplits = 64;

// Shares the slabs of K, in multiples of `unit`, while the GPU has room for `resident` blocks and a
// share has at least `least` slabs.
void split_k(Int4GemmSchedule& s, std::int64_t resident, std::int64_t unit, std::int64_t least) {
  const std::int64_t blocks = std::max<std::int64_t>(s.blocks_m * s.blocks_n, 1);
  const std::int64_t most = std::clamp<std::int64_t>(s.slabs / least, 1, kMostSplits);
  const std::int64_t wanted = std::clamp<std::int64_t>(resident / blocks, 1, most);
  s.slabs_per_split = round_up(divide_up(s.slabs, wanted), unit);
  s.splits = static_cast<int>(divide_up(s.slabs, s.slabs_per_split));
}

// ---- few rows ----

bool suits_few_rows(const Int4GemmProblem& p) {
  const Int4GemmAttributes& a = p.attributes;
  const bool near = a.swiglu == 0 || std::int64_t{a.gemm_n} * a.gemm_k < std::int64_t{1}
                                                                             << 32;  // up's bytes
  return near && has_narrow_types(p) && p.m <= 16 && a.gemm_n % 64 == 0 &&
         a.gemm_k % kFewRowsStep == 0 &&
         (a.weight_layout == WeightLayout::kCudaV1 || a.group_size == kFewRowsStep);
}

// Warps of a block: all blocks at once on the GPU, up to four a multiprocessor; beyond, two.
int few_rows_warps(const Int4GemmFewRowsTile& t, std::int64_t blocks, const CudaDevice& device) {
  const std::int64_t share = divide_up(blocks, device.multiprocessors);
  return t.most_warps / static_cast<int>(share <= 4 ? share : 2);
}

// The widest block (it reads the activations less often) that leaves nearly every multiprocessor
// one and every warp enough steps. On an H100, one row of 2048 x 8192: 4.1 us with 32 columns, 4.7
// with 64.
int choose_few_rows_tile(const Int4GemmProblem& p, const CudaDevice& device) {
  int best = -1;
  const std::int64_t steps = p.attributes.gemm_k / kFewRowsStep;
  for (int tile = 0; tile < kInt4GemmFewRowsTileCount; ++tile) {
    const Int4GemmFewRowsTile& t = kInt4GemmFewRowsTiles[tile];
    if ((p.m > 8) != (t.token_tiles == 2) || !t.takes_group(p.attributes.group_size)) continue;
    if (p.attributes.swiglu != 0 && t.tiles % 2 != 0) continue;
    const std::int64_t blocks = p.attributes.gemm_n / (16 * t.tiles);
    const int warps = few_rows_warps(t, blocks, device);
    const bool has_steps = t.token_tiles == 2
                               ? 2 * steps >= 5 * warps
                               : blocks > device.multiprocessors || steps >= 2 * warps;
    if (best < 0 || (10 * blocks >= 9 * device.multiprocessors && has_steps)) best = tile;
  }
  return best;
}

void schedule_few_rows(Int4GemmSchedule& s, const CudaDevice& device) {
  const Int4GemmAttributes& a = s.problem.attributes;
  s.kernel = Int4GemmKernel::kFewRows;
  s.tile = choose_few_rows_tile(s.problem, device);
  const Int4GemmFewRowsTile& t = kInt4GemmFewRowsTiles[s.tile];
  s.slabs = a.gemm_k / kSlab;
  s.slabs_per_split = s.slabs;
  s.blocks_n = a.gemm_n / (16 * t.tiles);
  s.blocks_m = 1;
  const int groups = kFewRowsStep / a.group_size, columns = 16 * t.tiles;
  s.slot_bytes = static_cast<int>(
      round_up(s.problem.m * 256 + groups * columns * (a.has_zero_points != 0 ? 3 : 2), 256));
  const int ring = int4_gemm_few_rows_slots(t.token_tiles) * s.slot_bytes;
  const int sums = t.tiles * t.token_tiles * 512;
  const int per_warp = std::max(ring, sums);
  const int steps = a.gemm_k / kFewRowsStep;
  const int warps = std::min(
      {few_rows_warps(t, s.blocks_n, device), steps, device.shared_memory_bytes / per_warp});
  const int steps_per_warp = static_cast<int>(divide_up(steps, warps));
  s.warps = static_cast<int>(divide_up(steps, steps_per_warp));
  s.shared_bytes = s.warps * per_warp;
}

// ---- any problem ----

int choose_tile(const Int4GemmProblem& p) {
  const int count =
      p.activation_type == DataType::kFloat32 ? kInt4GemmTileCountFp32 : kInt4GemmTileCount;
  for (int tile = 0; tile + 1 < count; ++tile) {
    if (p.m <= kInt4GemmTiles[tile].rows()) return tile;
  }
  return count - 1;
}

void schedule_row_tiles(Int4GemmSchedule& s, const CudaDevice& device) {
  const Int4GemmAttributes& a = s.problem.attributes;
  s.kernel = Int4GemmKernel::kRowTiles;
  s.tile = choose_tile(s.problem);
  const Int4GemmTile& t = kInt4GemmTiles[s.tile];
  const int element_bytes = static_cast<int>(size_of(s.problem.activation_type));
  s.shared_bytes = int4_gemm_shared_bytes(t, element_bytes);
  s.slabs = divide_up(a.gemm_k, kSlab);
  s.blocks_m = divide_up(s.problem.m, t.rows());
  s.blocks_n = divide_up(a.gemm_n, t.columns());
  // 1 KB of each block's shared memory is the system's.
  const int per_multiprocessor = std::clamp(device.shared_memory_bytes / (s.shared_bytes + 1024), 1,
                                            int4_gemm_blocks(t, element_bytes));
  split_k(s, std::int64_t{per_multiprocessor} * device.multiprocessors, t.warps_k,
          kLeastStagesPerSplit * t.warps_k);
}

// ---- gate and up behind the sums ----

std::size_t behind(std::size_t bytes) {
  return (bytes + 255) / 256 * 256;
}

std::size_t gate_up_bytes(const Int4GemmProblem& p) {
  if (p.attributes.swiglu == 0) return 0;
  return static_cast<std::size_t>(p.m * p.attributes.gemm_n) * size_of(p.activation_type);
}

}  // namespace

std::size_t most_int4_gemm_workspace(const Int4GemmProblem& p, const CudaDevice& device) {
  const Result<Int4GemmSchedule> schedule = schedule_int4_gemm(p, device);
  const std::size_t planned = schedule.ok() ? schedule->workspace_bytes : 0;
  if (!suits_wgmma(p, device)) return planned;
  return std::max(planned, behind(most_wgmma_workspace(p, device)) + gate_up_bytes(p));
}

Result<Int4GemmSchedule> schedule_int4_gemm(const Int4GemmProblem& p, const CudaDevice& device,
                                            std::optional<Int4GemmKernel> only) {
  DOVETAIL_RETURN_IF_ERROR(validate(p));
  const Int4GemmAttributes& a = p.attributes;
  if (device.compute_capability < 80) {
    return unsupported("int4_gemm: the device is sm_", device.compute_capability,
                       ", expected sm_80 or later");
  }
  if (a.weight_layout == WeightLayout::kCpuV1) {
    return unsupported(
        "int4_gemm: weight_layout is cpu_v1, expected edgellm_v1 or cuda_v1 on CUDA");
  }
  if (a.compute_mode == ComputeMode::kInt8) {
    return unsupported("int4_gemm: compute_mode is int8, expected auto or exact on CUDA");
  }
  Int4GemmSchedule s{.problem = p};
  s.overlap_kernels = device.compute_capability >= 90;
  const auto wanted = [&](Int4GemmKernel kernel) { return !only.has_value() || *only == kernel; };
  if (wanted(Int4GemmKernel::kFewRows) && suits_few_rows(p) &&
      (only.has_value() || !prefers_wgmma(p, device))) {
    schedule_few_rows(s, device);
  } else if (suits_wgmma(p, device) &&
             (wanted(Int4GemmKernel::kWarpgroup) ||
              (wanted(Int4GemmKernel::kMiddleRows) && p.m <= kMostMiddleRows))) {
    schedule_wgmma(s, device, only);
  } else if (wanted(Int4GemmKernel::kRowTiles)) {
    schedule_row_tiles(s, device);
  } else {
    return unsupported("int4_gemm: the kernel that was asked for does not take this problem");
  }
  if (s.shared_bytes > device.shared_memory_bytes) {
    return unsupported("int4_gemm: a block needs ", s.shared_bytes,
                       " bytes of shared memory, the device has ", device.shared_memory_bytes);
  }
  if (s.splits > 1) {
    s.workspace_bytes = static_cast<std::size_t>(s.splits) * static_cast<std::size_t>(p.m) *
                        static_cast<std::size_t>(a.gemm_n) * sizeof(float);
  }
  if (a.swiglu != 0 && s.kernel != Int4GemmKernel::kFewRows) {
    const Result<SwigluSchedule> swiglu = schedule_swiglu(swiglu_of(p), device);
    if (!swiglu.ok()) return swiglu.status();
    s.swiglu = *swiglu;
    s.gate_up_offset = behind(s.workspace_bytes);
    s.workspace_bytes = s.gate_up_offset + gate_up_bytes(p);
  }
  return s;
}

std::string describe(const Int4GemmSchedule& s) {
  if (s.kernel == Int4GemmKernel::kFewRows) {
    const Int4GemmFewRowsTile& t = kInt4GemmFewRowsTiles[s.tile];
    return concat("int4_gemm: cuda, few rows, ", 8 * t.token_tiles, "x", 16 * t.tiles, ", ",
                  s.warps, " warps share k, grid ", s.blocks_n, ", ", s.shared_bytes,
                  " bytes of shared memory");
  }
  if (s.kernel == Int4GemmKernel::kMiddleRows) {
    const Int4GemmMiddleRowsTile& t = kInt4GemmMiddleRowsTiles[s.tile];
    return concat("int4_gemm: cuda, wgmma, up to ", t.tokens, "x", t.columns(), ", ", t.warpgroups,
                  " warpgroups share k, grid ", s.blocks_n, "x", s.splits, ", ",
                  s.slabs_per_split * kSlab, " k a block, ", s.shared_bytes,
                  " bytes of shared memory, ", s.workspace_bytes, " bytes of workspace",
                  s.swiglu ? concat("; ", describe(*s.swiglu)) : "");
  }
  const bool is_warpgroup = s.kernel == Int4GemmKernel::kWarpgroup;
  const Int4GemmTile& t = kInt4GemmTiles[is_warpgroup ? 0 : s.tile];
  const Int4GemmWarpgroupTile& w = kInt4GemmWarpgroupTiles[is_warpgroup ? s.tile : 0];
  return concat("int4_gemm: cuda, ", is_warpgroup ? "wgmma, " : "", "tile ",
                is_warpgroup ? w.tokens : t.rows(), "x", is_warpgroup ? w.columns() : t.columns(),
                ", ", is_warpgroup ? w.stages : t.stages, " stages, ",
                is_warpgroup ? w.threads() : t.threads(), " threads, grid ", s.blocks_m, "x",
                s.blocks_n, "x", s.splits, is_warpgroup ? concat(" on ", s.grid, " blocks") : "",
                ", ", s.slabs_per_split * kSlab, " k a block, ", s.shared_bytes,
                " bytes of shared memory, ", s.workspace_bytes, " bytes of workspace",
                s.swiglu ? concat("; ", describe(*s.swiglu)) : "");
}

}  // namespace dovetail::cuda
