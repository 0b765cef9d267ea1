// SPDX-License-Identifier: Apache-2.0
// ResidualRMSNorm on the CPU, in plain C++, a task for every few rows. Packages for the CPU leave
// their norms to ONNX Runtime; this serves a GPU's package that runs here.
#include <algorithm>
#include <cmath>

#include "cpu/run_tasks.h"
#include "layout/narrow_float.h"
#include "ops/message.h"
#include "ops/residual_norm.h"

namespace dovetail {

struct CpuResidualNormPlan::State {
  ResidualNormProblem problem;
  std::int64_t tasks = 1;
};

namespace {

constexpr std::int64_t kFewestElements = 4096;  // below, a task costs less than waking a thread

struct Half {
  std::uint16_t bits;
};
struct BFloat16 {
  std::uint16_t bits;
};
float load(const float& v) {
  return v;
}
float load(const Half& v) {
  return half_to_float(v.bits);
}
float load(const BFloat16& v) {
  return bfloat16_to_float(v.bits);
}
void store(float& to, float v) {
  to = v;
}
void store(Half& to, float v) {
  to.bits = float_to_half(v);
}
void store(BFloat16& to, float v) {
  to.bits = float_to_bfloat16(v);
}

template <class T>
void run_row(const ResidualNormProblem& p, const ResidualNormBuffers& b, std::int64_t row) {
  const std::int64_t begin = row * p.hidden, source = source_row(p, b.rows, row) * p.hidden;
  const T* x = static_cast<const T*>(b.x) + source;
  const T* residual = static_cast<const T*>(b.residual) + source;
  const T* weight = static_cast<const T*>(b.weight);
  T* sum = static_cast<T*>(b.sum) + begin;
  T* normed = static_cast<T*>(b.normed) + begin;
  constexpr std::int64_t kLanes = 16;  // partial sums: a row of thousands loses no digit
  float squares[kLanes] = {};
  for (std::int64_t i = 0; i < p.hidden; ++i) {
    store(sum[i], load(x[i]) + load(residual[i]));
    const float value = load(sum[i]);
    squares[i % kLanes] += value * value;
  }
  float total = 0;
  for (const float part : squares) {
    total += part;
  }
  const float mean = total / static_cast<float>(p.hidden);
  const float factor = 1.0f / std::sqrt(mean + p.attributes.epsilon);
  for (std::int64_t i = 0; i < p.hidden; ++i) {
    store(normed[i], load(sum[i]) * factor * load(weight[i]));
  }
}

struct Call {
  const CpuResidualNormPlan::State& plan;
  const ResidualNormBuffers& buffers;

  void run(std::int64_t task) const {
    const ResidualNormProblem& p = plan.problem;
    const std::int64_t end = p.m * (task + 1) / plan.tasks;
    for (std::int64_t row = p.m * task / plan.tasks; row < end; ++row) {
      switch (p.activation_type) {
        case DataType::kFloat16:
          run_row<Half>(p, buffers, row);
          break;
        case DataType::kBFloat16:
          run_row<BFloat16>(p, buffers, row);
          break;
        default:
          run_row<float>(p, buffers, row);
      }
    }
  }
};

}  // namespace

Result<CpuResidualNormPlan> plan(const ResidualNormProblem& problem, const CpuDevice& device) {
  DOVETAIL_RETURN_IF_ERROR(validate(problem));
  const std::int64_t most = std::min<std::int64_t>(problem.m, std::max(1, device.threads));
  const std::int64_t tasks = std::clamp<std::int64_t>(problem.m * problem.hidden / kFewestElements,
                                                      1, std::max<std::int64_t>(1, most));
  return CpuResidualNormPlan(std::make_shared<const CpuResidualNormPlan::State>(
      CpuResidualNormPlan::State{problem, tasks}));
}

std::string CpuResidualNormPlan::describe() const {
  return concat("residual_norm generic, M ", state_->problem.m, ", H ", state_->problem.hidden,
                ", ", state_->tasks, state_->tasks == 1 ? " task" : " tasks");
}

Status CpuResidualNormPlan::run(const ResidualNormBuffers& buffers, const TaskRunner& tasks) const {
  run_tasks<&Call::run>(Call{*state_, buffers}, state_->tasks, tasks);
  return Status::success();
}

}  // namespace dovetail
