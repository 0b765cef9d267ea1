// SPDX-License-Identifier: Apache-2.0
// The public int4 GEMM on CUDA: a schedule, made without touching the driver, and its launch.
#include <atomic>

#include "cuda/int4_gemm_plan.h"
#include "dovetail/cuda.h"

namespace dovetail {

struct CudaInt4GemmPlan::State {
  cuda::Int4GemmSchedule schedule;
  // The kernel's shared-memory limit is lifted at the first run, since planning needs no GPU.
  mutable std::atomic<bool> prepared{false};
};

Result<CudaInt4GemmPlan> plan(const Int4GemmProblem& problem, const CudaDevice& device) {
  const Result<cuda::Int4GemmSchedule> schedule = cuda::schedule_int4_gemm(problem, device);
  if (!schedule.ok()) return schedule.status();
  auto state = std::make_shared<CudaInt4GemmPlan::State>();
  state->schedule = *schedule;
  return CudaInt4GemmPlan(std::move(state));
}

std::size_t CudaInt4GemmPlan::workspace_bytes() const {
  return state_->schedule.workspace_bytes;
}

std::string CudaInt4GemmPlan::describe() const {
  return cuda::describe(state_->schedule);
}

Status CudaInt4GemmPlan::run(const Int4GemmBuffers& buffers, void* stream) const {
  if (!state_->prepared.load(std::memory_order_acquire)) {
    DOVETAIL_RETURN_IF_ERROR(cuda::prepare_int4_gemm(state_->schedule));
    state_->prepared.store(true, std::memory_order_release);
  }
  return cuda::run_int4_gemm(state_->schedule, buffers, stream);
}

}  // namespace dovetail
