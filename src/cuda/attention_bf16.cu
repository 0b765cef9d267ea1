// SPDX-License-Identifier: Apache-2.0
#include "cuda/attention_launch.cuh"

namespace dovetail::cuda {

const AttentionFunctions kAttentionBf16 = {
    AttentionLaunches<ptx::BFloat16, ptx::BFloat16>::prepare,
    AttentionLaunches<ptx::BFloat16, ptx::BFloat16>::before,
    AttentionLaunches<ptx::BFloat16, ptx::BFloat16>::attend,
};

}  // namespace dovetail::cuda
