// SPDX-License-Identifier: Apache-2.0
#include "cuda/attention_launch.cuh"

namespace dovetail::cuda {

const AttentionFunctions kAttentionBf16E4m3 = {
    AttentionLaunches<ptx::BFloat16, ptx::E4m3>::prepare,
    AttentionLaunches<ptx::BFloat16, ptx::E4m3>::before,
    AttentionLaunches<ptx::BFloat16, ptx::E4m3>::attend,
};

}  // namespace dovetail::cuda
