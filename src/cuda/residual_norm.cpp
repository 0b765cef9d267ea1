// SPDX-License-Identifier: Apache-2.0
// ResidualRMSNorm on CUDA: its schedule, and the public plan around it.
#include <algorithm>

#include "cuda/residual_norm_plan.h"
#include "layout/rounding.h"
#include "ops/message.h"

namespace dovetail {
namespace cuda {
namespace {

constexpr std::int64_t kMostBlocks = 1 << 20;  // rows beyond wait

}  // namespace

Result<ResidualNormSchedule> schedule_residual_norm(const ResidualNormProblem& p,
                                                    const CudaDevice& device) {
  DOVETAIL_RETURN_IF_ERROR(validate(p));
  if (device.compute_capability < 80) {
    return unsupported("residual_norm: the device is sm_", device.compute_capability,
                       ", expected sm_80 or later");
  }
  ResidualNormSchedule s{.problem = p};
  const std::int64_t per_vector = 16 / static_cast<std::int64_t>(size_of(p.activation_type));
  s.vectors = p.hidden % per_vector == 0;
  const std::int64_t pieces = p.hidden / (s.vectors ? per_vector : 1);
  s.threads = std::min<std::int64_t>(round_up(pieces, 32), kMostResidualNormThreads);
  s.blocks = std::clamp<std::int64_t>(p.m, 1, kMostBlocks);
  s.overlap_previous = device.compute_capability >= 90;
  return s;
}

std::string describe(const ResidualNormSchedule& s) {
  return concat("residual_norm: cuda, ", s.vectors ? "16 bytes" : "1 element", " a thread, ",
                s.threads, " threads, grid ", s.blocks);
}

}  // namespace cuda

struct CudaResidualNormPlan::State {
  cuda::ResidualNormSchedule schedule;
};

Result<CudaResidualNormPlan> plan(const ResidualNormProblem& problem, const CudaDevice& device) {
  const Result<cuda::ResidualNormSchedule> schedule = cuda::schedule_residual_norm(problem, device);
  if (!schedule.ok()) return schedule.status();
  return CudaResidualNormPlan(
      std::make_shared<const CudaResidualNormPlan::State>(CudaResidualNormPlan::State{*schedule}));
}

std::string CudaResidualNormPlan::describe() const {
  return cuda::describe(state_->schedule);
}

Status CudaResidualNormPlan::run(const ResidualNormBuffers& buffers, void* stream) const {
  return cuda::run_residual_norm(state_->schedule, buffers, stream);
}

}  // namespace dovetail
