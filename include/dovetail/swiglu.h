// SPDX-License-Identifier: Apache-2.0
// PackedSwiGLU: out[M, I] = silu(gate) * up, the gate of a Llama-class MLP (Shazeer 2020, arXiv
// 2002.05202), with silu(x) = x / (1 + exp(-x)). Gate and up lie side by side, as one GEMM over
// stacked rows leaves them, so that nothing is split or copied in between.
//
// Legend: M rows = B * S tokens, I intermediate size. Math is fp32 whatever the type of the
// activations; a sigmoid below 2^-125 counts as zero.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "dovetail/cpu.h"
#include "dovetail/status.h"
#include "dovetail/tensor.h"

namespace dovetail {

struct SwigluAttributes {
  std::int32_t intermediate_size = 0;  // I
};

struct SwigluProblem {
  SwigluAttributes attributes;
  DataType activation_type = DataType::kFloat32;  // gate_up and output: fp32, fp16, bf16
  std::int64_t m = 0;                             // B * S
};

struct SwigluBuffers {
  const void* gate_up = nullptr;  // [M, 2 * I]: a row is gate[I], then up[I]
  void* output = nullptr;         // [M, I]
};

// Checks type and shape of the input.
Result<SwigluProblem> describe_swiglu(const SwigluAttributes& attributes,
                                      std::span<const TensorDesc> inputs);
Status validate(const SwigluProblem& problem);

// How one call runs on the CPU. Immutable; may run on several threads.
class CpuSwigluPlan {
 public:
  std::size_t workspace_bytes() const { return 0; }
  std::string describe() const;
  Status run(const SwigluBuffers& buffers, const TaskRunner& tasks) const;

  struct State;
  explicit CpuSwigluPlan(std::shared_ptr<const State> state) : state_(std::move(state)) {}

 private:
  std::shared_ptr<const State> state_;
};

Result<CpuSwigluPlan> plan(const SwigluProblem& problem, const CpuDevice& device);

}  // namespace dovetail
