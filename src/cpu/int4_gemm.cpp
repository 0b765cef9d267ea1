// SPDX-License-Identifier: Apache-2.0
// Runs an int4 GEMM on the caller's pool, cut as int4_gemm_plan.h says. Weights in edgellm_v1 are
// brought to cpu_v1 lines chunk by chunk on the task's stack (8 KB, stays in L1) for the same
// kernels.
#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <string_view>
#include <tuple>

#include "cpu/int4_gemm_kernels.h"
#include "cpu/int4_gemm_plan.h"
#include "cpu/run_tasks.h"
#include "dovetail/int4_gemm.h"
#include "dovetail/swiglu.h"
#include "layout/int4_layout.h"
#include "ops/int4_gemm.h"
#include "ops/message.h"

namespace dovetail {

struct CpuInt4GemmPlan::State {
  Int4GemmProblem problem;
  CpuDevice device;
  const cpu::Int4GemmKernels* kernels;
  cpu::Int4GemmSchedule schedule;
  std::optional<CpuSwigluPlan> swiglu;  // over gate and up, [M, N], behind the GEMM's workspace

  std::size_t gate_up_offset() const { return (schedule.workspace_bytes + 63) / 64 * 64; }
  std::size_t gate_up_bytes() const {
    return static_cast<std::size_t>(problem.m * problem.attributes.gemm_n) *
           size_of(problem.activation_type);
  }
};

namespace {

using namespace cpu;

const std::byte* offset(const void* base, std::int64_t elements, DataType type) {
  return static_cast<const std::byte*>(base) + elements * static_cast<std::int64_t>(size_of(type));
}

// One pass: rows [first_row, first_row + rows) of the call.
struct Pass {
  const CpuInt4GemmPlan::State& plan;
  const Int4GemmBuffers& buffers;
  std::int64_t first_row;
  std::int64_t rows;

  const Int4GemmSchedule& schedule() const { return plan.schedule; }
  const Int4GemmAttributes& attributes() const { return plan.problem.attributes; }
  std::int64_t groups() const { return attributes().gemm_k / attributes().group_size; }
  bool int8() const { return schedule().mode == ComputeMode::kInt8; }
  int rows_of_tile(std::int64_t tile) const {
    return static_cast<int>(
        std::min<std::int64_t>(schedule().tile_rows, rows - tile * schedule().tile_rows));
  }

  // Where a tile's activations from k on lie, packed.
  std::byte* packed(std::int64_t tile, std::int64_t k) const {
    const std::int64_t at =
        tile * schedule().tile_rows * attributes().gemm_k + k * rows_of_tile(tile);
    return static_cast<std::byte*>(buffers.workspace) + at * schedule().value_bytes;
  }
  std::int64_t group_index(std::int64_t tile, std::int64_t k) const {
    return tile * schedule().tile_rows * groups() +
           k / attributes().group_size * rows_of_tile(tile);
  }
  float* row_scales(std::int64_t tile, std::int64_t k) const {
    auto* base = static_cast<std::byte*>(buffers.workspace) + schedule().row_scales_offset;
    return reinterpret_cast<float*>(base) + group_index(tile, k);
  }
  std::int32_t* row_starts(std::int64_t tile, std::int64_t k) const {
    auto* base = static_cast<std::byte*>(buffers.workspace) + schedule().row_starts_offset;
    return reinterpret_cast<std::int32_t*>(base) + group_index(tile, k);
  }

  std::int64_t tiles() const { return (rows + schedule().tile_rows - 1) / schedule().tile_rows; }
  std::int64_t stretches() const {
    return (attributes().gemm_k + schedule().stretch_k - 1) / schedule().stretch_k;
  }
  std::int64_t panel_ranges() const {
    return (schedule().panels + schedule().panels_per_task - 1) / schedule().panels_per_task;
  }
  std::int64_t blocks() const { return (rows + schedule().block_rows - 1) / schedule().block_rows; }

  void pack(std::int64_t task) const {
    const std::int64_t tile = task / stretches();
    const std::int64_t k = task % stretches() * schedule().stretch_k;
    const Int4PackTask t{
        .activations = offset(buffers.activations,
                              (first_row + tile * schedule().tile_rows) * attributes().gemm_k + k,
                              plan.problem.activation_type),
        .stride = attributes().gemm_k,
        .k = std::min(schedule().stretch_k, attributes().gemm_k - k),
        .rows = rows_of_tile(tile),
        .group_size = attributes().group_size,
        .format = format_of(plan.problem.activation_type),
        .packed = packed(tile, k),
        .row_scales = row_scales(tile, k),
        .row_starts = row_starts(tile, k)};
    (int8() ? plan.kernels->pack_int8 : plan.kernels->pack_exact)(t);
  }

  void multiply(std::int64_t task) const {
    const std::int64_t first_panel = task % panel_ranges() * schedule().panels_per_task;
    const std::int64_t last_panel =
        std::min(first_panel + schedule().panels_per_task, schedule().panels);
    const std::int64_t tiles_per_block = schedule().block_rows / schedule().tile_rows;
    const std::int64_t first_tile = task / panel_ranges() * tiles_per_block;
    const std::int64_t last_tile = std::min(first_tile + tiles_per_block, tiles());
    for (std::int64_t panel = first_panel; panel < last_panel; ++panel) {
      multiply_panel(panel, first_tile, last_tile);
    }
  }

  // The panel's weights, scales and zero points of one chunk of K as a kernel wants them.
  struct Chunk {
    alignas(64) std::uint8_t lines[kMaxChunkK * kPanelColumns / 2];
    alignas(64) std::byte scales[kMaxChunkK / 32 * kPanelColumns * 4];
    alignas(64) std::int8_t zero_points[kMaxChunkK / 32 * kPanelColumns];
  };

  void point_at_cpu_v1(std::int64_t panel, std::int64_t k, Int4MultiplyTask& t) const {
    const std::int64_t scale =
        scale_index(WeightLayout::kCpuV1, panel * kPanelColumns, k / attributes().group_size,
                    attributes().gemm_n, groups());
    t.weights = static_cast<const std::uint8_t*>(buffers.weights) +
                cpu_v1_address(panel * kPanelColumns, k, attributes().gemm_k).byte;
    t.scales = offset(buffers.scales, scale, plan.problem.scale_type);
    t.zero_points = buffers.zero_points == nullptr
                        ? nullptr
                        : static_cast<const std::int8_t*>(buffers.zero_points) + scale;
  }

  void convert_from_edgellm_v1(std::int64_t panel, std::int64_t k, Chunk& chunk,
                               Int4MultiplyTask& t) const {
    const std::int64_t n = panel * kPanelColumns;
    const std::int64_t columns = std::min<std::int64_t>(kPanelColumns, attributes().gemm_n - n);
    const std::int64_t quad_bytes = round_up(attributes().gemm_k, 64) * 2;
    plan.kernels->unswizzle({.weights = static_cast<const std::uint8_t*>(buffers.weights) +
                                        n / 4 * quad_bytes + k / 64 * 128,
                             .quad_bytes = quad_bytes,
                             .k = static_cast<std::int64_t>(t.groups) * t.group_size,
                             .quads = static_cast<int>((columns + 3) / 4),
                             .lines = chunk.lines});
    const std::size_t element = size_of(plan.problem.scale_type);
    const auto count = static_cast<std::size_t>(columns);
    for (std::int64_t g = 0; g < t.groups; ++g) {
      const std::int64_t from = (k / attributes().group_size + g) * attributes().gemm_n + n;
      std::byte* scales = chunk.scales + static_cast<std::size_t>(g) * kPanelColumns * element;
      std::memset(scales, 0, kPanelColumns * element);
      std::memcpy(scales, offset(buffers.scales, from, plan.problem.scale_type), count * element);
      if (buffers.zero_points != nullptr) {
        std::int8_t* zero_points = chunk.zero_points + g * kPanelColumns;
        std::memset(zero_points, 8, kPanelColumns);
        std::memcpy(zero_points, static_cast<const std::int8_t*>(buffers.zero_points) + from,
                    count);
      }
    }
    t.weights = chunk.lines;
    t.scales = chunk.scales;
    t.zero_points = buffers.zero_points == nullptr ? nullptr : chunk.zero_points;
  }

  void multiply_panel(std::int64_t panel, std::int64_t first_tile, std::int64_t last_tile) const {
    alignas(64) float sums[kMaxBlockRows * kPanelColumns];
    const std::int64_t tile_sums = schedule().tile_rows * kPanelColumns;
    const std::int64_t last_row = std::min(last_tile * schedule().tile_rows, rows);
    std::fill(sums, sums + (last_row - first_tile * schedule().tile_rows) * kPanelColumns, 0.0f);
    const auto multiply_tile = int8() ? plan.kernels->multiply_int8 : plan.kernels->multiply_exact;
    const std::int64_t group = attributes().group_size;
    Chunk chunk;
    for (std::int64_t k = 0; k < attributes().gemm_k; k += schedule().chunk_k) {
      const std::int64_t length = std::min(schedule().chunk_k, attributes().gemm_k - k);
      Int4MultiplyTask t{};
      t.group_size = attributes().group_size;
      t.groups = static_cast<int>(length / group);
      t.scale_format = format_of(plan.problem.scale_type);
      t.activation_format = format_of(plan.problem.activation_type);
      if (attributes().weight_layout == WeightLayout::kCpuV1) {
        point_at_cpu_v1(panel, k, t);
      } else {
        convert_from_edgellm_v1(panel, k, chunk, t);
      }
      for (std::int64_t tile = first_tile; tile < last_tile; ++tile) {
        t.activations = packed(tile, k);
        t.row_scales = row_scales(tile, k);
        t.row_starts = row_starts(tile, k);
        t.sums = sums + (tile - first_tile) * tile_sums;
        t.rows = rows_of_tile(tile);
        multiply_tile(t);
      }
    }
    const std::int64_t n = panel * kPanelColumns;
    for (std::int64_t tile = first_tile; tile < last_tile; ++tile) {
      const std::int64_t at = (first_row + tile * schedule().tile_rows) * attributes().gemm_n + n;
      const DataType type = plan.problem.activation_type;
      plan.kernels->store(
          {.sums = sums + (tile - first_tile) * tile_sums,
           .bias = buffers.bias == nullptr ? nullptr : offset(buffers.bias, n, type),
           .output = const_cast<std::byte*>(offset(buffers.output, at, type)),
           .stride = attributes().gemm_n,
           .rows = rows_of_tile(tile),
           .columns =
               static_cast<int>(std::min<std::int64_t>(kPanelColumns, attributes().gemm_n - n)),
           .format = format_of(type)});
    }
  }
};

// The attribute, unless DOVETAIL_COMPUTE overrides it; kAuto is resolved by the tier.
Result<ComputeMode> compute_mode(const Int4GemmAttributes& attributes,
                                 const Int4GemmKernels& kernels) {
  ComputeMode mode = attributes.compute_mode;
  if (const char* forced = std::getenv("DOVETAIL_COMPUTE"); forced != nullptr && *forced != '\0') {
    const std::string_view name = forced;
    if (name != name_of(ComputeMode::kExact) && name != name_of(ComputeMode::kInt8)) {
      return invalid_argument("DOVETAIL_COMPUTE is \"", name, "\", expected exact or int8");
    }
    mode = name == name_of(ComputeMode::kInt8) ? ComputeMode::kInt8 : ComputeMode::kExact;
  }
  if (mode == ComputeMode::kAuto) {
    mode = kernels.auto_is_int8 ? ComputeMode::kInt8 : ComputeMode::kExact;
  }
  return mode;
}

}  // namespace

Result<CpuInt4GemmPlan> plan(const Int4GemmProblem& problem, const CpuDevice& device) {
  DOVETAIL_RETURN_IF_ERROR(validate(problem));
  if (problem.attributes.weight_layout == WeightLayout::kCudaV1) {
    return unsupported(
        "int4_gemm: weight_layout is cuda_v1, expected edgellm_v1 or cpu_v1 on the CPU");
  }
  const Int4GemmKernels& kernels = int4_gemm_kernels(device.tier, problem.m);
  const Result<ComputeMode> mode = compute_mode(problem.attributes, kernels);
  if (!mode.ok()) {
    return mode.status();
  }
  const Int4GemmSchedule schedule = schedule_int4_gemm(problem, *mode, kernels, device.threads);
  std::optional<CpuSwigluPlan> swiglu;
  if (problem.attributes.swiglu != 0) {
    const Result<CpuSwigluPlan> gated = plan(swiglu_of(problem), device);
    if (!gated.ok()) {
      return gated.status();
    }
    swiglu = *gated;
  }
  return CpuInt4GemmPlan(std::make_shared<const CpuInt4GemmPlan::State>(
      CpuInt4GemmPlan::State{problem, device, &kernels, schedule, swiglu}));
}

std::size_t CpuInt4GemmPlan::workspace_bytes() const {
  return state_->swiglu ? state_->gate_up_offset() + state_->gate_up_bytes()
                        : state_->schedule.workspace_bytes;
}

std::string CpuInt4GemmPlan::describe() const {
  const Int4GemmSchedule& s = state_->schedule;
  return concat("int4_gemm: ", state_->kernels->tier, ", ", name_of(s.mode), ", tiles of ",
                s.tile_rows, " rows, blocks of ", s.block_rows, ", ", s.panels_per_task, " of ",
                s.panels, " panels a task, ", workspace_bytes(), " bytes of workspace",
                state_->swiglu ? concat("; ", state_->swiglu->describe()) : "");
}

Status CpuInt4GemmPlan::run(const Int4GemmBuffers& given, const TaskRunner& tasks) const {
  const Int4GemmProblem& problem = state_->problem;
  Int4GemmBuffers buffers = given;
  buffers.zero_points = problem.attributes.has_zero_points != 0 ? given.zero_points : nullptr;
  buffers.bias = problem.attributes.has_bias != 0 ? given.bias : nullptr;
  for (const auto& [name, pointer, needed] :
       {std::tuple("activations", buffers.activations, problem.m > 0),
        std::tuple("weights", buffers.weights, true), std::tuple("scales", buffers.scales, true),
        std::tuple("zero_points", buffers.zero_points, problem.attributes.has_zero_points != 0),
        std::tuple("bias", buffers.bias, problem.attributes.has_bias != 0),
        std::tuple("output", static_cast<const void*>(buffers.output), problem.m > 0),
        std::tuple("workspace", static_cast<const void*>(buffers.workspace),
                   workspace_bytes() > 0)}) {
    if (needed && pointer == nullptr) {
      return invalid_argument("int4_gemm: ", name, " is null");
    }
  }
  if (state_->swiglu) {
    buffers.output = static_cast<std::byte*>(given.workspace) + state_->gate_up_offset();
  }
  for (std::int64_t row = 0; row < problem.m; row += state_->schedule.pass_rows) {
    const Pass pass{*state_, buffers, row, std::min(state_->schedule.pass_rows, problem.m - row)};
    run_tasks<&Pass::pack>(pass, pass.tiles() * pass.stretches(), tasks);
    run_tasks<&Pass::multiply>(pass, pass.blocks() * pass.panel_ranges(), tasks);
  }
  return state_->swiglu ? state_->swiglu->run({buffers.output, given.output}, tasks)
                        : Status::success();
}

}  // namespace dovetail
