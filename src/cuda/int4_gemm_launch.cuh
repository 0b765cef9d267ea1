// SPDX-License-Identifier: Apache-2.0
// The table of kernel instantiations for one activation type, and their launch. Each type is
// compiled in its own file (int4_gemm_fp16.cu, ...).
#pragma once

#include <array>
#include <utility>

#include "cuda/int4_gemm_kernel.cuh"
#include "cuda/int4_gemm_run.h"
#include "cuda/launch.cuh"

namespace dovetail::cuda {

using Int4GemmFunction = void (*)(Int4GemmArguments);

template <class T, WeightLayout Layout, int... Tiles>
constexpr auto int4_gemm_row(std::integer_sequence<int, Tiles...>) {
  return std::array<Int4GemmFunction, sizeof...(Tiles)>{int4_gemm_kernel<T, Layout, Tiles>...};
}

template <class T>
Int4GemmFunction find_int4_gemm_kernel(const Int4GemmSchedule& s) {
  constexpr int kTiles = std::is_same_v<T, float> ? kInt4GemmTileCountFp32 : kInt4GemmTileCount;
  using Tiles = std::make_integer_sequence<int, kTiles>;
  const auto tile = static_cast<size_t>(s.tile);
  return s.problem.attributes.weight_layout == WeightLayout::kCudaV1
             ? int4_gemm_row<T, WeightLayout::kCudaV1>(Tiles{})[tile]
             : int4_gemm_row<T, WeightLayout::kEdgeLlmV1>(Tiles{})[tile];
}

template <class T>
Status prepare_int4_gemm_of(const Int4GemmSchedule& s) {
  const bool is_middle = s.kernel == Int4GemmKernel::kMiddleRows;
  if (is_middle || s.kernel == Int4GemmKernel::kWarpgroup) {
    if constexpr (ptx::kIsHalf<T>) {
      return is_middle ? prepare_int4_gemm_middle_rows_fp16(s)
                       : prepare_int4_gemm_warpgroup_fp16(s);
    }
    if constexpr (std::is_same_v<T, ptx::BFloat16>) {
      return is_middle ? prepare_int4_gemm_middle_rows_bf16(s)
                       : prepare_int4_gemm_warpgroup_bf16(s);
    }
  }
  return prepare(find_int4_gemm_kernel<T>(s), static_cast<uint32_t>(s.shared_bytes));
}

template <class T>
Status launch_int4_gemm(const Int4GemmSchedule& s, const Int4GemmArguments& arguments,
                        void* stream) {
  const bool is_middle = s.kernel == Int4GemmKernel::kMiddleRows;
  if (is_middle || s.kernel == Int4GemmKernel::kWarpgroup) {
    if constexpr (ptx::kIsHalf<T>) {
      return is_middle ? launch_int4_gemm_middle_rows_fp16(s, arguments, stream)
                       : launch_int4_gemm_warpgroup_fp16(s, arguments, stream);
    }
    if constexpr (std::is_same_v<T, ptx::BFloat16>) {
      return is_middle ? launch_int4_gemm_middle_rows_bf16(s, arguments, stream)
                       : launch_int4_gemm_warpgroup_bf16(s, arguments, stream);
    }
  }
  const LaunchConfig config{
      .grid = {static_cast<uint32_t>(s.blocks_m), static_cast<uint32_t>(s.blocks_n),
               static_cast<uint32_t>(s.splits)},
      .block = {static_cast<uint32_t>(kInt4GemmTiles[s.tile].threads())},
      .shared_bytes = static_cast<uint32_t>(s.shared_bytes),
      .stream = stream};
  return launch(find_int4_gemm_kernel<T>(s), config, arguments);
}

template <class T>
Status run_int4_gemm_of(const Int4GemmSchedule& s, const Int4GemmBuffers& b, void* stream) {
  const Int4GemmAttributes& a = s.problem.attributes;
  const Int4GemmArguments arguments{
      .activations = b.activations,
      .weights = static_cast<const std::byte*>(b.weights),
      .scales = static_cast<const std::byte*>(b.scales),
      .zero_points = static_cast<const std::byte*>(b.zero_points),
      .bias = b.bias,
      .output = b.output,
      .partials = static_cast<float*>(b.workspace),
      .m = s.problem.m,
      .n = a.gemm_n,
      .k = a.gemm_k,
      .group_size = a.group_size,
      .slabs = static_cast<int32_t>(s.slabs),
      .slabs_per_split = static_cast<int32_t>(s.slabs_per_split),
      .splits = s.splits,
      .blocks_m = static_cast<int32_t>(s.blocks_m),
      .blocks_n = static_cast<int32_t>(s.blocks_n),
      .scale_type = s.problem.scale_type,
  };
  DOVETAIL_RETURN_IF_ERROR(launch_int4_gemm<T>(s, arguments, stream));
  if (s.splits == 1) return Status::success();
  const int64_t outputs = s.problem.m * a.gemm_n / int4_gemm_reduce_width(a.gemm_n);
  const LaunchConfig reduce{
      .grid = {static_cast<uint32_t>((outputs + kReduceThreads - 1) / kReduceThreads)},
      .block = {kReduceThreads},
      .stream = stream,
      .overlap_previous = s.overlap_kernels};
  return launch(int4_gemm_reduce<T>, reduce, arguments);
}

}  // namespace dovetail::cuda
