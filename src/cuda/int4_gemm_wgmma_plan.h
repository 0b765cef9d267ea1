// SPDX-License-Identifier: Apache-2.0
// The part of the int4 GEMM's plan that belongs to sm_90: which problems its two wgmma kernels take,
// and which tile and split of K by a model of their time.
#pragma once

#include "cuda/int4_gemm_plan.h"
#include "layout/rounding.h"

namespace dovetail::cuda {

// Activations and scales of 2 bytes.
bool has_narrow_types(const Int4GemmProblem& problem);

bool suits_wgmma(const Int4GemmProblem& problem, const CudaDevice& device);
// Rather than the few-row kernel.
bool prefers_wgmma(const Int4GemmProblem& problem, const CudaDevice& device);

void schedule_wgmma(Int4GemmSchedule& schedule, const CudaDevice& device,
                    std::optional<Int4GemmKernel> only);
// For any M up to the problem's.
std::size_t most_wgmma_workspace(const Int4GemmProblem& problem, const CudaDevice& device);

}  // namespace dovetail::cuda
