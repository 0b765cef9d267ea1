// SPDX-License-Identifier: Apache-2.0
// The public SwiGLU plan on CUDA.
#include "cuda/swiglu_plan.h"

namespace dovetail {

struct CudaSwigluPlan::State {
  cuda::SwigluSchedule schedule;
};

Result<CudaSwigluPlan> plan(const SwigluProblem& problem, const CudaDevice& device) {
  const Result<cuda::SwigluSchedule> schedule = cuda::schedule_swiglu(problem, device);
  if (!schedule.ok()) return schedule.status();
  return CudaSwigluPlan(
      std::make_shared<const CudaSwigluPlan::State>(CudaSwigluPlan::State{*schedule}));
}

std::string CudaSwigluPlan::describe() const {
  return cuda::describe(state_->schedule);
}

Status CudaSwigluPlan::run(const SwigluBuffers& buffers, void* stream) const {
  return cuda::run_swiglu(state_->schedule, buffers, stream);
}

}  // namespace dovetail
