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

AttentionBuffers AttentionOp::buffers(const InputMap& map,
                                      const std::array<const void*, kInputs>& inputs,
                                      const std::array<void*, kOutputs>& outputs, void* workspace) {
  const auto at = [&](AttentionInput input) -> const void* {
    return map[input] < 0 ? nullptr : inputs[static_cast<std::size_t>(map[input])];
  };
  const auto ints = [&](AttentionInput input) {
    return static_cast<const std::int32_t*>(at(input));
  };
  const auto floats = [&](AttentionInput input) { return static_cast<const float*>(at(input)); };
  using In = AttentionInput;
  return {.qkv = at(In::kQkv),
          .past_kv_cache = at(In::kKvCache),
          .kv_cache = outputs[1],
          .context_lengths = ints(In::kContextLengths),
          .rope_cos_sin = floats(In::kRopeCosSin),
          .kv_start_index = ints(In::kKvStartIndex),
          .attention_mask = ints(In::kAttentionMask),
          .attention_pos_id = ints(In::kAttentionPosId),
          .kv_scales = floats(In::kKvScales),
          .q_norm_weight = at(In::kQNormWeight),
          .k_norm_weight = at(In::kKNormWeight),
          .output = outputs[0],
          .workspace = workspace};
}

}  // namespace dovetail::ort
