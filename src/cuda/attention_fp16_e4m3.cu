// SPDX-License-Identifier: Apache-2.0
#include "cuda/attention_launch.cuh"

namespace dovetail::cuda {

const AttentionFunctions kAttentionFp16E4m3 = {
    AttentionLaunches<ptx::Half, ptx::E4m3>::prepare,
    AttentionLaunches<ptx::Half, ptx::E4m3>::before,
    AttentionLaunches<ptx::Half, ptx::E4m3>::attend,
};

}  // namespace dovetail::cuda
