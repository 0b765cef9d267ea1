// SPDX-License-Identifier: Apache-2.0
// Runs SwiGLU on the caller's pool. The output counts as one row of M * I elements, cut evenly; a
// task walks the rows that its share touches. It is bound by memory, so more tasks than threads
// gain nothing, and a share below kFewestElements costs less than waking a thread (about 1 us).
#include <algorithm>

#include "cpu/run_tasks.h"
#include "cpu/swiglu_kernels.h"
#include "cpu/tier_kernels.h"
#include "ops/message.h"
#include "ops/swiglu.h"

namespace dovetail {

struct CpuSwigluPlan::State {
  SwigluProblem problem;
  const SwigluKernels* kernels = nullptr;
  std::int64_t tasks = 1;
};

namespace {

constexpr std::int64_t kFewestElements = 4096;

constexpr TierKernels<SwigluKernels> kKernels {
  .generic = &kSwigluGeneric,
#if defined(__x86_64__)
  .avx2 = &kSwigluAvx2, .avx512 = &kSwigluAvx512,
#endif
};

struct Call {
  const CpuSwigluPlan::State& plan;
  const SwigluBuffers& buffers;

  void run(std::int64_t task) const {
    const std::int64_t width = plan.problem.attributes.intermediate_size;
    const std::int64_t elements = plan.problem.m * width;
    const auto element = static_cast<std::int64_t>(size_of(plan.problem.activation_type));
    const std::int64_t end = elements * (task + 1) / plan.tasks;
    for (std::int64_t at = elements * task / plan.tasks; at < end;) {
      const std::int64_t row = at / width;
      const std::int64_t column = at % width;
      const std::int64_t count = std::min(width - column, end - at);
      const auto* gate =
          static_cast<const std::byte*>(buffers.gate_up) + (row * 2 * width + column) * element;
      plan.kernels->run(gate, gate + width * element,
                        static_cast<std::byte*>(buffers.output) + at * element, count,
                        plan.problem.activation_type);
      at += count;
    }
  }
};

}  // namespace

Result<CpuSwigluPlan> plan(const SwigluProblem& problem, const CpuDevice& device) {
  DOVETAIL_RETURN_IF_ERROR(validate(problem));
  const std::int64_t elements = problem.m * problem.attributes.intermediate_size;
  const std::int64_t tasks =
      std::clamp<std::int64_t>(elements / kFewestElements, 1, std::max(1, device.threads));
  return CpuSwigluPlan(std::make_shared<const CpuSwigluPlan::State>(
      CpuSwigluPlan::State{problem, &kKernels.of(device.tier), tasks}));
}

std::string CpuSwigluPlan::describe() const {
  return concat("swiglu ", state_->kernels->tier, ", M ", state_->problem.m, ", I ",
                state_->problem.attributes.intermediate_size, ", ", state_->tasks,
                state_->tasks == 1 ? " task" : " tasks");
}

Status CpuSwigluPlan::run(const SwigluBuffers& buffers, const TaskRunner& tasks) const {
  run_tasks<&Call::run>(Call{*state_, buffers}, state_->tasks, tasks);
  return Status::success();
}

}  // namespace dovetail
