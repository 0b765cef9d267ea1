// SPDX-License-Identifier: Apache-2.0
#include "cuda/attention_launch.cuh"

namespace dovetail::cuda {

const AttentionFunctions kAttentionFp16 = {
    AttentionLaunches<ptx::Half, ptx::Half>::prepare,
    AttentionLaunches<ptx::Half, ptx::Half>::before,
    AttentionLaunches<ptx::Half, ptx::Half>::attend,
};

}  // namespace dovetail::cuda
