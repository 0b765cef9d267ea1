// SPDX-License-Identifier: Apache-2.0
#include "cpu/int4_gemm_plan.h"

#include <algorithm>

#include "cpu/tier_kernels.h"
#include "layout/int4_layout.h"

namespace dovetail::cpu {
namespace {

constexpr std::int64_t kBlockBytes = 384 * 1024;  // of an L2 of 512 KB or more
// A core that loses time takes fewer. M = 1, 4096 x 4096, 2 threads of a shared machine: 4 a thread
// take 3 % longer, 64 take 5 %.
constexpr std::int64_t kTasksPerThread = 16;
constexpr std::int64_t kMinTaskWeights =
    128 * 1024;                              // multiply-adds per row; below, a task costs more
constexpr std::int64_t kFewestTileRows = 4;  // of a call to go through AMX tiles
constexpr std::int64_t kMinPackElements = 16 * 1024;  // activations a packing task is worth

}  // namespace

FloatFormat format_of(DataType type) {
  switch (type) {
    case DataType::kFloat16:
      return FloatFormat::kFloat16;
    case DataType::kBFloat16:
      return FloatFormat::kBFloat16;
    default:
      return FloatFormat::kFloat32;
  }
}

const Int4GemmKernels& int4_gemm_kernels(CpuTier tier, std::int64_t m) {
  constexpr TierKernels<Int4GemmKernels> kKernels {
    .generic = &kInt4GemmGeneric,
#if defined(__x86_64__)
    .avx2 = &kInt4GemmAvx2, .avx512 = &kInt4GemmAvx512, .amx = &kInt4GemmAmx,
#endif
  };
  return kKernels.of(tier == CpuTier::kAmx && m < kFewestTileRows ? CpuTier::kAvx512 : tier);
}

Int4GemmSchedule schedule_int4_gemm(const Int4GemmProblem& p, ComputeMode mode,
                                    const Int4GemmKernels& kernels, int threads) {
  const std::int64_t k = p.attributes.gemm_k;
  const std::int64_t group = p.attributes.group_size;
  const bool int8 = mode == ComputeMode::kInt8;

  Int4GemmSchedule s;
  s.mode = mode;
  s.value_bytes = int8 ? 1 : kernels.exact_bytes[static_cast<int>(format_of(p.activation_type))];
  const std::int64_t value_bytes = s.value_bytes;
  s.tile_rows = int8 ? kernels.int8_rows : kernels.exact_rows;
  s.panels = divide_up(p.attributes.gemm_n, kPanelColumns);
  s.chunk_k = std::min<std::int64_t>(k, kMaxChunkK);

  const std::int64_t tile = s.tile_rows;
  s.pass_rows = std::min(p.m, kPassRows / tile * tile);
  s.block_rows =
      std::clamp(kBlockBytes / (k * value_bytes) / tile * tile, tile, kMaxBlockRows / tile * tile);
  s.block_rows = std::min(s.block_rows, round_up(std::max<std::int64_t>(s.pass_rows, 1), tile));

  const std::int64_t blocks = std::max<std::int64_t>(divide_up(s.pass_rows, s.block_rows), 1);
  const std::int64_t wanted = threads > 1 ? divide_up(threads * kTasksPerThread, blocks) : 1;
  const std::int64_t rows = std::max<std::int64_t>(std::min(s.pass_rows, s.block_rows), 1);
  const std::int64_t smallest = divide_up(kMinTaskWeights, k * kPanelColumns * rows);
  s.panels_per_task =
      std::clamp(divide_up(s.panels, wanted), std::min(smallest, s.panels), s.panels);

  const std::int64_t tile_height = std::min(rows, tile);
  s.stretch_k = std::min(k, round_up(divide_up(kMinPackElements, tile_height), group));

  const auto padded = [](std::int64_t bytes) {
    return static_cast<std::size_t>(round_up(bytes, 64));
  };
  const std::size_t packed = padded(s.pass_rows * k * value_bytes);
  const std::size_t per_group = int8 ? padded(s.pass_rows * (k / group) * 4) : 0;
  s.row_scales_offset = packed;
  s.row_starts_offset = packed + per_group;
  s.workspace_bytes = packed + 2 * per_group;
  return s;
}

}  // namespace dovetail::cpu
