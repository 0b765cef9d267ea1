// SPDX-License-Identifier: Apache-2.0
// The public attention on CUDA: a schedule, made without touching the driver, and its launches.
#include <atomic>

#include "cuda/attention_plan.h"
#include "dovetail/cuda.h"

namespace dovetail {

struct CudaAttentionPlan::State {
  cuda::AttentionSchedule schedule;
  // The kernel's shared-memory limit is lifted at the first run, since planning needs no GPU.
  mutable std::atomic<bool> prepared{false};
};

Result<CudaAttentionPlan> plan(const AttentionProblem& problem, const CudaDevice& device) {
  const Result<cuda::AttentionSchedule> schedule = cuda::schedule_attention(problem, device);
  if (!schedule.ok()) return schedule.status();
  auto state = std::make_shared<CudaAttentionPlan::State>();
  state->schedule = *schedule;
  return CudaAttentionPlan(std::move(state));
}

std::size_t CudaAttentionPlan::workspace_bytes() const {
  return state_->schedule.workspace.bytes;
}

std::string CudaAttentionPlan::describe() const {
  return cuda::describe(state_->schedule);
}

Status CudaAttentionPlan::run(const AttentionBuffers& buffers, void* stream) const {
  if (!state_->prepared.load(std::memory_order_acquire)) {
    DOVETAIL_RETURN_IF_ERROR(cuda::prepare_attention(state_->schedule));
    state_->prepared.store(true, std::memory_order_release);
  }
  return cuda::run_attention(state_->schedule, buffers, stream);
}

}  // namespace dovetail
