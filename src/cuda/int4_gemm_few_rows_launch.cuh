// SPDX-License-Identifier: Apache-2.0
// The table of few-row kernels for one activation type, and their launch.
#pragma once

#include <array>
#include <type_traits>
#include <utility>

#include "cuda/int4_gemm_few_rows_kernel.cuh"
#include "cuda/int4_gemm_run.h"
#include "cuda/launch.cuh"

namespace dovetail::cuda {

using Int4GemmFewRowsFunction = void (*)(Int4GemmFewRowsArguments);

template <class T, WeightLayout Layout, int Group, int Tile>
constexpr Int4GemmFewRowsFunction int4_gemm_few_rows_entry() {
  constexpr int kGroupSize = Group == kPlainGroup ? kFewRowsStep : Group;
  if constexpr (kInt4GemmFewRowsTiles[Tile].takes_group(kGroupSize)) {
    return int4_gemm_few_rows_kernel<T, Layout, Tile, Group>;
  } else {
    return nullptr;
  }
}

template <class T, WeightLayout Layout, int Group, int... Tiles>
constexpr auto int4_gemm_few_rows_row(std::integer_sequence<int, Tiles...>) {
  return std::array<Int4GemmFewRowsFunction, sizeof...(Tiles)>{
      int4_gemm_few_rows_entry<T, Layout, Group, Tiles>()...};
}

template <class T>
Int4GemmFewRowsFunction find_int4_gemm_few_rows_kernel(const Int4GemmSchedule& s) {
  const Int4GemmAttributes& a = s.problem.attributes;
  const bool is_plain = a.group_size == kFewRowsStep && a.has_zero_points == 0 &&
                        s.problem.scale_type == s.problem.activation_type;
  const auto tile = static_cast<size_t>(s.tile);
  const auto of = [&](auto layout, auto group) {
    using Tiles = std::make_integer_sequence<int, kInt4GemmFewRowsTileCount>;
    return int4_gemm_few_rows_row<T, layout, group>(Tiles{})[tile];
  };
  constexpr std::integral_constant<WeightLayout, WeightLayout::kCudaV1> kCuda;
  constexpr std::integral_constant<WeightLayout, WeightLayout::kEdgeLlmV1> kEdge;
  constexpr std::integral_constant<int, kPlainGroup> kPlain;
  constexpr std::integral_constant<int, 128> k128;
  if (a.weight_layout == WeightLayout::kEdgeLlmV1) {
    return is_plain ? of(kEdge, kPlain) : of(kEdge, k128);
  }
  if (is_plain) return of(kCuda, kPlain);
  if (a.group_size == 128) return of(kCuda, k128);
  return a.group_size == 64 ? of(kCuda, std::integral_constant<int, 64>{})
                            : of(kCuda, std::integral_constant<int, 32>{});
}

template <class T>
Status run_int4_gemm_few_rows_of(const Int4GemmSchedule& s, const Int4GemmBuffers& b,
                                 void* stream) {
  const Int4GemmAttributes& a = s.problem.attributes;
  const int steps = a.gemm_k / kFewRowsStep;
  const int up_tiles = a.swiglu != 0 ? a.gemm_n / 32 - kInt4GemmFewRowsTiles[s.tile].tiles / 2 : 0;
  const Int4GemmFewRowsArguments arguments{
      .activations = b.activations,
      .weights = static_cast<const std::byte*>(b.weights),
      .scales = static_cast<const std::byte*>(b.scales),
      .zero_points = static_cast<const std::byte*>(b.zero_points),
      .bias = b.bias,
      .output = b.output,
      .m = static_cast<int32_t>(s.problem.m),
      .n = a.gemm_n,
      .k = a.gemm_k,
      .group_size = a.group_size,
      .steps = steps,
      .warps = s.warps,
      .steps_per_warp = (steps + s.warps - 1) / s.warps,
      .slot_bytes = s.slot_bytes,
      .scale_type = s.problem.scale_type,
      .up_tiles = up_tiles,
      .up_bytes = static_cast<uint32_t>(up_tiles) * static_cast<uint32_t>(a.gemm_k) * 8,
      .swiglu = a.swiglu != 0,
  };
  const LaunchConfig config{.grid = {static_cast<uint32_t>(s.blocks_n)},
                            .block = {static_cast<uint32_t>(s.warps) * 32},
                            .shared_bytes = static_cast<uint32_t>(s.shared_bytes),
                            .stream = stream,
                            .overlap_previous = s.overlap_kernels};
  return launch(find_int4_gemm_few_rows_kernel<T>(s), config, arguments);
}

}  // namespace dovetail::cuda
