// SPDX-License-Identifier: Apache-2.0
// The attention kernels by types, as host functions; attention_run.cpp chooses.
#pragma once

#include "cuda/attention_arguments.h"
#include "cuda/attention_plan.h"

namespace dovetail::cuda {

using AttentionStep = Status (*)(const AttentionSchedule& schedule,
                                 const AttentionArguments& arguments, void* stream);

struct AttentionFunctions {
  Status (*prepare)(const AttentionSchedule& schedule);
  AttentionStep before;  // the copy of a separate past, and the pre-pass
  AttentionStep attend;
};

// Activation type, then the cache's where it differs.
extern const AttentionFunctions kAttentionFp16, kAttentionFp16E4m3;
extern const AttentionFunctions kAttentionBf16, kAttentionBf16E4m3;

// Long prompts on sm_90a; `before` is the other functions'.
extern const AttentionFunctions kAttentionWgmmaFp16, kAttentionWgmmaBf16;

}  // namespace dovetail::cuda
