// SPDX-License-Identifier: Apache-2.0
#include "onnxruntime/swiglu.h"

namespace dovetail::ort {

std::vector<OutputRule> SwigluOp::rules(const Attributes& attributes, int activation_rank) {
  return output_rules(attributes, activation_rank == 2 ? 2 : 3);
}

std::vector<OutputRule> SwigluOp::infer_rules(std::span<const Attribute> given,
                                              int activation_rank) {
  const Result<Attributes> attributes = parse(given);
  return rules(attributes.ok() ? *attributes : Attributes{}, activation_rank);
}

SwigluBuffers SwigluOp::buffers(const InputMap&, const std::array<const void*, kInputs>& inputs,
                                const std::array<void*, kOutputs>& outputs, void*) {
  return {.gate_up = inputs[0], .output = outputs[0]};
}

}  // namespace dovetail::ort
