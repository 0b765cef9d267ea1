// SPDX-License-Identifier: Apache-2.0
#include "onnxruntime/attention.h"

namespace dovetail::ort {

AttentionProblem AttentionOp::smallest(const Attributes& attributes,
                                       std::span<const TensorDesc> inputs) {
  const Shape& rope = inputs[static_cast<std::size_t>(AttentionInput::kRopeCosSin)].shape;
  return {
      .attributes = attributes,
      .mode = AttentionMode::kDecode,
      .activation_type = inputs[static_cast<std::size_t>(AttentionInput::kQkv)].type,
      .cache_type = inputs[static_cast<std::size_t>(AttentionInput::kKvCache)].type,
      .batch = 1,
      .tokens = 1,
      .capacity = 1,
      .rope_batch = 1,
      .rope_rows = 1,
      .rotary_width = rope.rank() == 3 && rope[2] > 0 ? rope[2] : attributes.head_size,
  };
}

std::vector<OutputRule> AttentionOp::rules(const Attributes& attributes, int) {
  return output_rules(attributes);
}

}  // namespace dovetail::ort
