// SPDX-License-Identifier: Apache-2.0
// ResidualRMSNorm: what stands between two matrices of a decoder layer, in one pass:
//
//   sum    = x + residual
//   normed = sum / sqrt(mean(sum^2) + epsilon) * weight      (Zhang and Sennrich 2019, 1910.07467)
//
// Legend: M rows = B * S tokens, H hidden size. Math is fp32; the mean is that of the sum as it is
// stored, so that a later node sees the numbers that were normalised.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "dovetail/cpu.h"
#include "dovetail/status.h"
#include "dovetail/tensor.h"

namespace dovetail {

struct ResidualNormAttributes {
  float epsilon = 1e-5f;
};

struct ResidualNormProblem {
  ResidualNormAttributes attributes;
  DataType activation_type = DataType::kFloat32;  // of every tensor: fp32, fp16, bf16
  std::int64_t m = 0;                             // B * S
  std::int64_t hidden = 0;                        // H
};

struct ResidualNormBuffers {
  const void* x = nullptr;         // [M, H]
  const void* residual = nullptr;  // [M, H]
  const void* weight = nullptr;    // [H]
  void* normed = nullptr;          // [M, H]
  void* sum = nullptr;             // [M, H]; may be x or residual
};

// Checks types and shapes of the inputs.
Result<ResidualNormProblem> describe_residual_norm(const ResidualNormAttributes& attributes,
                                                   std::span<const TensorDesc> inputs);
Status validate(const ResidualNormProblem& problem);

// How one call runs on the CPU. Immutable; may run on several threads.
class CpuResidualNormPlan {
 public:
  std::size_t workspace_bytes() const { return 0; }
  std::string describe() const;
  Status run(const ResidualNormBuffers& buffers, const TaskRunner& tasks) const;

  struct State;
  explicit CpuResidualNormPlan(std::shared_ptr<const State> state) : state_(std::move(state)) {}

 private:
  std::shared_ptr<const State> state_;
};

Result<CpuResidualNormPlan> plan(const ResidualNormProblem& problem, const CpuDevice& device);

}  // namespace dovetail
