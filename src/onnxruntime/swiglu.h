// SPDX-License-Identifier: Apache-2.0
// PackedSwiGLU for Kernel: which functions of the operator serve a node.
#pragma once

#include <span>
#include <vector>

#include "ops/swiglu.h"

namespace dovetail::ort {

struct SwigluOp {
  struct InputMap {
    std::array<int, 1> position{0};
    int count = 1;
  };
  using Attributes = SwigluAttributes;
  using Problem = SwigluProblem;
  static constexpr std::size_t kInputs = 1;
  static constexpr std::size_t kOutputs = 1;

  static const OpSchema& schema() { return swiglu_schema(); }
  static Result<Attributes> parse(std::span<const Attribute> given) {
    return parse_swiglu_attributes(given);
  }
  static InputMap input_map(const Attributes&) { return {}; }
  static Status check_inputs(const Attributes& attributes, std::span<const TensorDesc> inputs) {
    return check_swiglu_inputs(attributes, inputs);
  }
  // The least call, of one row: can the device serve the node at all?
  static Problem smallest(const Attributes& attributes, std::span<const TensorDesc> inputs) {
    return {.attributes = attributes, .activation_type = inputs[0].type, .m = 1};
  }
  static Result<Problem> describe(const Attributes& attributes,
                                  std::span<const TensorDesc> inputs) {
    return describe_swiglu(attributes, inputs);
  }
  static std::vector<OutputRule> rules(const Attributes& attributes, int activation_rank);
  static SwigluBuffers buffers(const InputMap&, const void* const* inputs, void* const* outputs,
                               void* /*workspace*/) {
    return {.gate_up = inputs[0], .output = outputs[0]};
  }
};

}  // namespace dovetail::ort
