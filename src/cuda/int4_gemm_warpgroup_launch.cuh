// SPDX-License-Identifier: Apache-2.0
// The table of wgmma kernels for one activation type, and their launch. Compiled for sm_90a alone.
#pragma once

#include <array>
#include <utility>

#include "cuda/int4_gemm_run.h"
#include "cuda/int4_gemm_warpgroup_kernel.cuh"
#include "cuda/launch.cuh"

namespace dovetail::cuda {

using Int4GemmWarpgroupFunction = void (*)(Int4GemmArguments);

template <class T, WeightLayout Layout, int... Tiles>
constexpr auto int4_gemm_warpgroup_row(std::integer_sequence<int, Tiles...>) {
  return std::array<Int4GemmWarpgroupFunction, sizeof...(Tiles)>{
      int4_gemm_warpgroup_kernel<T, Layout, Tiles>...};
}

template <class T>
Int4GemmWarpgroupFunction find_int4_gemm_warpgroup_kernel(const Int4GemmSchedule& s) {
  using Tiles = std::make_integer_sequence<int, kInt4GemmWarpgroupTileCount>;
  const auto tile = static_cast<size_t>(s.tile);
  return s.problem.attributes.weight_layout == WeightLayout::kCudaV1
             ? int4_gemm_warpgroup_row<T, WeightLayout::kCudaV1>(Tiles{})[tile]
             : int4_gemm_warpgroup_row<T, WeightLayout::kEdgeLlmV1>(Tiles{})[tile];
}

template <class T>
Status launch_int4_gemm_warpgroup(const Int4GemmSchedule& s, const Int4GemmArguments& arguments,
                                  void* stream) {
  const LaunchConfig config{
      .grid = {static_cast<uint32_t>(s.blocks_m), static_cast<uint32_t>(s.blocks_n),
               static_cast<uint32_t>(s.splits)},
      .block = {kWarpgroupThreads},
      .shared_bytes = static_cast<uint32_t>(s.shared_bytes),
      .stream = stream,
      .overlap_previous = s.overlap_kernels};
  return launch(find_int4_gemm_warpgroup_kernel<T>(s), config, arguments);
}

}  // namespace dovetail::cuda
