// SPDX-License-Identifier: Apache-2.0
// The attention kernels of src/cpu/lanes, compiled for the avx2 tier.
#include "cpu/attention_kernels.h"
#include "cpu/avx2/float_vector.h"
#include "cpu/lanes/attention_tile.h"

namespace dovetail {

const AttentionKernels kAttentionAvx2 = {"avx2", kLanes, kNarrowRows, prepare, attend, merge};

}  // namespace dovetail
