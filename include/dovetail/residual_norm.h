// SPDX-License-Identifier: Apache-2.0
// ResidualRMSNorm: what stands between two matrices of a decoder layer, in one pass:
//
//   sum    = x + residual
//   normed = sum / sqrt(mean(sum^2) + epsilon) * weight      (Zhang and Sennrich 2019, 1910.07467)
//
// of every token, or of a few that `rows` names: the head of a model wants each lane's last.
//
// Legend: B lanes, S tokens, H hidden size, L rows a lane, M = B * S output rows, or B * L. Math is
// fp32; the mean is that of the sum as it is
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
  std::int32_t has_rows = 0;  // 1: L rows of each lane instead of all
};

struct ResidualNormProblem {
  ResidualNormAttributes attributes;
  DataType activation_type = DataType::kFloat32;  // of every tensor: fp32, fp16, bf16
  std::int64_t m = 0;                             // of the outputs: B * S or B * L
  std::int64_t hidden = 0;                        // H
  std::int64_t tokens = 0;                        // S, with has_rows
  std::int64_t rows_per_lane = 0;                 // L, with has_rows
};

struct ResidualNormBuffers {
  const void* x = nullptr;             // [B * S, H]
  const void* residual = nullptr;      // [B * S, H]
  const void* weight = nullptr;        // [H]
  const std::int64_t* rows = nullptr;  // [B, L] with has_rows: tokens in [0, S) of the lane
  void* normed = nullptr;              // [M, H]
  void* sum = nullptr;                 // [M, H]; without has_rows it may be x or residual
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
