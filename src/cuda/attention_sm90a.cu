// SPDX-License-Identifier: Apache-2.0
// Prefill through wgmma: compiled for sm_90a alone.
#include "cuda/attention_run.h"
#include "cuda/attention_wgmma.cuh"
#include "cuda/launch.cuh"

namespace dovetail::cuda {
namespace {

template <class T>
struct WgmmaLaunches {
  static auto find(int tile) {
    constexpr void (*kKernels[])(AttentionArguments) = {
        attention_wgmma<T, 0>, attention_wgmma<T, 1>, attention_wgmma<T, 2>};
    static_assert(std::size(kKernels) == kAttentionWgmmaTileCount);
    return kKernels[tile];
  }

  static Status prepare(const AttentionSchedule& s) {
    return cuda::prepare(find(s.wgmma), static_cast<uint32_t>(s.shared_bytes));
  }

  static Status attend(const AttentionSchedule& s, const AttentionArguments& arguments,
                       void* stream) {
    const LaunchConfig config{
        .grid = {static_cast<uint32_t>(s.row_blocks), static_cast<uint32_t>(arguments.kv_heads),
                 static_cast<uint32_t>(arguments.batch)},
        .block = {static_cast<uint32_t>(kAttentionWgmmaTiles[s.wgmma].threads())},
        .shared_bytes = static_cast<uint32_t>(s.shared_bytes),
        .stream = stream,
        .overlap_previous = s.overlap_kernels};
    return launch(find(s.wgmma), config, arguments);
  }
};

}  // namespace

const AttentionFunctions kAttentionWgmmaFp16 = {WgmmaLaunches<ptx::Half>::prepare, nullptr,
                                                WgmmaLaunches<ptx::Half>::attend};
const AttentionFunctions kAttentionWgmmaBf16 = {WgmmaLaunches<ptx::BFloat16>::prepare, nullptr,
                                                WgmmaLaunches<ptx::BFloat16>::attend};

}  // namespace dovetail::cuda
