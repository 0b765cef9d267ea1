// SPDX-License-Identifier: Apache-2.0
#include "cuda/int4_gemm_plan.h"

#include <algorithm>

#include "layout/int4_layout.h"
#include "ops/int4_gemm.h"
#include "ops/message.h"

namespace dovetail::cuda {
namespace {

constexpr std::int64_t divide_up(std::int64_t a, std::int64_t b) {
  return (a + b - 1) / b;
}

// The shortest share of K that is worth a block: as many stages as the pipeline holds.
constexpr std::int64_t kLeastStagesPerSplit = 4;
constexpr std::int64_t kMostSplits = 64;

int choose_tile(const Int4GemmProblem& p) {
  const int count =
      p.activation_type == DataType::kFloat32 ? kInt4GemmTileCountFp32 : kInt4GemmTileCount;
  for (int tile = 0; tile + 1 < count; ++tile) {
    if (p.m <= kInt4GemmTiles[tile].rows()) return tile;
  }
  return count - 1;
}

}  // namespace

Result<Int4GemmSchedule> schedule_int4_gemm(const Int4GemmProblem& p, const CudaDevice& device) {
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
  Int4GemmSchedule s{.problem = p, .tile = choose_tile(p)};
  const Int4GemmTile& t = kInt4GemmTiles[s.tile];
  s.shared_bytes = int4_gemm_shared_bytes(t, static_cast<int>(size_of(p.activation_type)));
  if (s.shared_bytes > device.shared_memory_bytes) {
    return unsupported("int4_gemm: a block needs ", s.shared_bytes,
                       " bytes of shared memory, the device has ", device.shared_memory_bytes);
  }
  s.slabs = divide_up(a.gemm_k, kSlab);
  s.blocks_m = divide_up(p.m, t.rows());
  s.blocks_n = divide_up(a.gemm_n, t.columns());
  s.overlap_kernels = device.compute_capability >= 90;

  // 1 KB of each block's shared memory is the system's.
  const int element_bytes = static_cast<int>(size_of(p.activation_type));
  const int per_multiprocessor = std::clamp(device.shared_memory_bytes / (s.shared_bytes + 1024), 1,
                                            int4_gemm_blocks(t, element_bytes));
  const std::int64_t resident = std::int64_t{per_multiprocessor} * device.multiprocessors;
  const std::int64_t blocks = std::max<std::int64_t>(s.blocks_m * s.blocks_n, 1);
  const std::int64_t most =
      std::clamp<std::int64_t>(s.slabs / (kLeastStagesPerSplit * t.warps_k), 1, kMostSplits);
  const std::int64_t wanted = std::clamp<std::int64_t>(resident / blocks, 1, most);
  s.slabs_per_split = round_up(divide_up(s.slabs, wanted), t.warps_k);
  s.splits = static_cast<int>(divide_up(s.slabs, s.slabs_per_split));
  if (s.splits > 1) {
    s.workspace_bytes = static_cast<std::size_t>(s.splits) * static_cast<std::size_t>(p.m) *
                        static_cast<std::size_t>(a.gemm_n) * sizeof(float);
  }
  return s;
}

std::string describe(const Int4GemmSchedule& s) {
  const Int4GemmTile& t = kInt4GemmTiles[s.tile];
  return concat("int4_gemm: cuda, tile ", t.rows(), "x", t.columns(), ", ", t.stages, " stages, ",
                t.threads(), " threads, grid ", s.blocks_m, "x", s.blocks_n, "x", s.splits, ", ",
                s.slabs_per_split * kSlab, " k a block, ", s.shared_bytes,
                " bytes of shared memory, ", s.workspace_bytes, " bytes of workspace");
}

}  // namespace dovetail::cuda
