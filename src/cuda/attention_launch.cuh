// SPDX-License-Identifier: Apache-2.0
// The attention kernels of one pair of types, and their launches. Each pair is compiled in its own
// file (attention_fp16.cu, ...).
#pragma once

#include <array>
#include <utility>

#include "cuda/attention_decode.cuh"
#include "cuda/attention_kernel.cuh"
#include "cuda/attention_prepare.cuh"
#include "cuda/attention_run.h"
#include "cuda/launch.cuh"

namespace dovetail::cuda {

struct AttentionKernels {
  void (*attend)(AttentionArguments) = nullptr;
  void (*decode)(AttentionArguments) = nullptr;  // of a fused call; 16 rows
  void (*fold)(AttentionArguments) = nullptr;    // null: the kernel folds its splits itself
};

template <int Index, class T, class Cache>
constexpr AttentionKernels attention_kernels() {
  if constexpr (kAttentionTiles[Index].row_tiles > 1 && sizeof(Cache) == 1) {
    return {};  // spills; the plan does not choose it
  } else if constexpr (kAttentionTiles[Index].rows() > 16) {
    return {.attend = attention_kernel<Index, T, Cache>,
            .fold = attention_fold<AttentionShape<Index, T, Cache>>};
  } else {
    return {.attend = attention_kernel<Index, T, Cache>,
            .decode = attention_decode<Index, T, Cache>};
  }
}

template <class T, class Cache, int... Tiles>
constexpr std::array<AttentionKernels, sizeof...(Tiles)> attention_row(
    std::integer_sequence<int, Tiles...>) {
  return {attention_kernels<Tiles, T, Cache>()...};
}

template <class T, class Cache>
AttentionKernels find_attention_kernel(int tile) {
  return attention_row<T, Cache>(
      std::make_integer_sequence<int, kAttentionTileCount>{})[static_cast<std::size_t>(tile)];
}

template <class T, class Cache>
struct AttentionLaunches {
  static auto kernel_of(const AttentionSchedule& s) {
    const AttentionKernels kernels = find_attention_kernel<T, Cache>(s.tile);
    return s.fused ? kernels.decode : kernels.attend;
  }

  static Status prepare(const AttentionSchedule& s) {
    return cuda::prepare(kernel_of(s), static_cast<uint32_t>(s.shared_bytes),
                         1u << s.cluster_shift);
  }

  static Status before(const AttentionSchedule& s, const AttentionArguments& arguments,
                       void* stream) {
    const auto lanes = static_cast<uint32_t>(arguments.batch);
    if (arguments.past != nullptr) {
      const LaunchConfig copy{.grid = {static_cast<uint32_t>(s.copy_blocks),
                                       static_cast<uint32_t>(2 * arguments.kv_heads), lanes},
                              .block = {kPrepareThreads},
                              .stream = stream};
      DOVETAIL_RETURN_IF_ERROR(launch(attention_copy_past<Cache>, copy, arguments));
    }
    if (!s.fused) {
      const LaunchConfig pass{.grid = {static_cast<uint32_t>(s.prepare_blocks), lanes},
                              .block = {kPrepareThreads},
                              .stream = stream,
                              .overlap_previous = s.overlap_kernels};
      DOVETAIL_RETURN_IF_ERROR(launch(attention_prepare<T, Cache>, pass, arguments));
    }
    return Status::success();
  }

  static Status attend(const AttentionSchedule& s, const AttentionArguments& arguments,
                       void* stream) {
    const LaunchConfig config{.grid = grid_of(arguments),
                              .block = {static_cast<uint32_t>(kAttentionTiles[s.tile].threads())},
                              .shared_bytes = static_cast<uint32_t>(s.shared_bytes),
                              .cluster_blocks = 1u << s.cluster_shift,
                              .stream = stream,
                              .overlap_previous = s.overlap_kernels};
    DOVETAIL_RETURN_IF_ERROR(launch(kernel_of(s), config, arguments));
    if (!s.folds) return Status::success();
    return launch_fold(find_attention_kernel<T, Cache>(s.tile).fold, s,
                       kAttentionTiles[s.tile].rows(), arguments, stream);
  }
};

}  // namespace dovetail::cuda
