// SPDX-License-Identifier: Apache-2.0
// The table of middle-row kernels for one activation type, and their launch. Compiled for sm_90a alone.
#pragma once

#include <array>
#include <type_traits>
#include <utility>

#include "cuda/int4_gemm_middle_rows_kernel.cuh"
#include "cuda/int4_gemm_run.h"
#include "cuda/launch.cuh"

namespace dovetail::cuda {

using Int4GemmMiddleRowsFunction = void (*)(Int4GemmArguments);

template <class T, WeightLayout Layout, bool Plain, int... Tiles>
constexpr auto int4_gemm_middle_rows_row(std::integer_sequence<int, Tiles...>) {
  return std::array<Int4GemmMiddleRowsFunction, sizeof...(Tiles)>{
      int4_gemm_middle_rows_kernel<T, Layout, Tiles, Plain>...};
}

template <class T>
Int4GemmMiddleRowsFunction find_int4_gemm_middle_rows_kernel(const Int4GemmSchedule& s) {
  const auto tile = static_cast<size_t>(s.tile);
  const Int4GemmAttributes& a = s.problem.attributes;
  const auto of = [&](auto layout, auto is_plain) {
    using Tiles = std::make_integer_sequence<int, kInt4GemmMiddleRowsTileCount>;
    return int4_gemm_middle_rows_row<T, layout, is_plain>(Tiles{})[tile];
  };
  constexpr std::integral_constant<WeightLayout, WeightLayout::kCudaV1> kCuda;
  constexpr std::integral_constant<WeightLayout, WeightLayout::kEdgeLlmV1> kEdge;
  if (a.weight_layout == WeightLayout::kCudaV1) {
    return is_plain_wgmma(a) ? of(kCuda, std::true_type{}) : of(kCuda, std::false_type{});
  }
  return is_plain_wgmma(a) ? of(kEdge, std::true_type{}) : of(kEdge, std::false_type{});
}

template <class T>
Status launch_int4_gemm_middle_rows(const Int4GemmSchedule& s, const Int4GemmArguments& arguments,
                                    void* stream) {
  const LaunchConfig config{
      .grid = {static_cast<uint32_t>(s.grid)},
      .block = {static_cast<uint32_t>(kInt4GemmMiddleRowsTiles[s.tile].threads())},
      .shared_bytes = static_cast<uint32_t>(s.shared_bytes),
      .stream = stream,
      .overlap_previous = s.overlap_kernels};
  return launch(find_int4_gemm_middle_rows_kernel<T>(s), config, arguments);
}

}  // namespace dovetail::cuda
