// SPDX-License-Identifier: Apache-2.0
// Attention through wgmma: compiled for sm_90a alone.
#include <array>
#include <utility>

#include "cuda/attention_run.h"
#include "cuda/attention_wgmma.cuh"
#include "cuda/launch.cuh"

namespace dovetail::cuda {
namespace {

struct WgmmaKernels {
  void (*attend)(AttentionArguments);
  void (*fold)(AttentionArguments);  // null: nothing is split
};

template <class T, int Index>
constexpr WgmmaKernels wgmma_kernels() {
  if constexpr (kAttentionWgmmaTiles[Index].splits) {
    return {attention_wgmma<T, Index>, attention_fold<WgmmaShape<T, Index>>};
  } else {
    return {attention_wgmma<T, Index>, nullptr};
  }
}

template <class T>
struct WgmmaLaunches {
  static WgmmaKernels find(int tile) {
    return []<int... Index>(std::integer_sequence<int, Index...>) {
      return std::array{wgmma_kernels<T, Index>()...};
    }
    (std::make_integer_sequence<int, kAttentionWgmmaTileCount>{})[static_cast<std::size_t>(tile)];
  }

  static Status prepare(const AttentionSchedule& s) {
    return cuda::prepare(find(s.wgmma).attend, static_cast<uint32_t>(s.shared_bytes));
  }

  static Status attend(const AttentionSchedule& s, const AttentionArguments& arguments,
                       void* stream) {
    const LaunchConfig config{
        .grid = grid_of(arguments),
        .block = {static_cast<uint32_t>(kAttentionWgmmaTiles[s.wgmma].threads())},
        .shared_bytes = static_cast<uint32_t>(s.shared_bytes),
        .stream = stream,
        .overlap_previous = s.overlap_kernels};
    DOVETAIL_RETURN_IF_ERROR(launch(find(s.wgmma).attend, config, arguments));
    if (!s.folds) return Status::success();
    return launch_fold(find(s.wgmma).fold, s, kAttentionWgmmaTiles[s.wgmma].rows(), arguments,
                       stream);
  }
};

}  // namespace

const AttentionFunctions kAttentionWgmmaFp16 = {WgmmaLaunches<ptx::Half>::prepare, nullptr,
                                                WgmmaLaunches<ptx::Half>::attend};
const AttentionFunctions kAttentionWgmmaBf16 = {WgmmaLaunches<ptx::BFloat16>::prepare, nullptr,
                                                WgmmaLaunches<ptx::BFloat16>::attend};

}  // namespace dovetail::cuda
