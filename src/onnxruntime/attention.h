// SPDX-License-Identifier: Apache-2.0
// AttentionPlugin for Kernel: the operator's functions that serve a node, and which input is what.
#pragma once

#include <span>
#include <vector>

#include "ops/attention.h"
#include "ops/output_rule.h"

namespace dovetail::ort {

struct AttentionOp {
  using Attributes = AttentionAttributes;
  using InputMap = AttentionInputMap;
  using Problem = AttentionProblem;
  static constexpr std::size_t kInputs = kAttentionInputs;
  static constexpr std::size_t kOutputs = 2;

  static const OpSchema& schema() { return attention_schema(); }
  static Result<Attributes> parse(std::span<const Attribute> given) {
    return parse_attention_attributes(given);
  }
  static InputMap input_map(const Attributes& attributes) { return attention_inputs(attributes); }
  static Status check_inputs(const Attributes& attributes, std::span<const TensorDesc> inputs) {
    return check_attention_inputs(attributes, inputs);
  }
  // The least call, with 1 for every unknown size: can the device serve the node at all?
  static Problem smallest(const Attributes& attributes, std::span<const TensorDesc> inputs);
  static Result<Problem> describe(const Attributes& attributes,
                                  std::span<const TensorDesc> inputs) {
    return describe_attention(attributes, inputs);
  }
  static std::vector<OutputRule> rules(const Attributes& attributes, int activation_rank);
  static AttentionBuffers buffers(const InputMap& map, const void* const* inputs,
                                  void* const* outputs, void* workspace) {
    return attention_buffers(map, inputs, outputs, workspace);
  }
};

}  // namespace dovetail::ort
