// SPDX-License-Identifier: Apache-2.0
// What only the data of a call says, checked on the host before anything is written: buffers
// present, every lane within the capacity, position ids within the RoPE table, usable FP8 scales.
#pragma once

#include "dovetail/attention.h"
#include "ops/attention_lane.h"

namespace dovetail {

// The first thing that is wrong with the call, naming tensor and lane. Reads host pointers.
Status check_call(const AttentionProblem& problem, const AttentionBuffers& buffers);

// Extent of lane b of this call.
LaneExtent lane_extent(const AttentionProblem& problem, const AttentionBuffers& buffers,
                       std::int64_t b);

}  // namespace dovetail
