// SPDX-License-Identifier: Apache-2.0
// The attention kernels of src/cpu/lanes, compiled for the generic tier.
#include "cpu/attention_kernels.h"
#include "cpu/generic/float_vector.h"
#include "cpu/lanes/attention_tile.h"

namespace dovetail {

const AttentionKernels kAttentionGeneric = {"generic", kLanes, kNarrowRows, prepare, attend, merge};

}  // namespace dovetail
