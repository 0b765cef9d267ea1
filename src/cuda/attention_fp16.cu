// SPDX-License-Identifier: Apache-2.0
#include "cuda/attention_launch.cuh"

namespace dovetail::cuda {

const AttentionFunctions kAttentionFp16 = {
    AttentionLaunches<ptx::Half, ptx::Half>::prepare,
    AttentionLaunches<ptx::Half, ptx::Half>::run,
};

}  // namespace dovetail::cuda
