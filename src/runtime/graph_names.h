// SPDX-License-Identifier: Apache-2.0
// Names of the graph's inputs and outputs, as in docs/package.md: those of TensorRT Edge-LLM 0.5.
#pragma once

#include <cstdint>
#include <string>

namespace dovetail::graph {

inline constexpr const char* kInputsEmbeds = "inputs_embeds";
inline constexpr const char* kRope = "rope_rotary_cos_sin";
inline constexpr const char* kContextLengths = "context_lengths";
inline constexpr const char* kLastTokenIds = "last_token_ids";
inline constexpr const char* kCacheStartIndex = "kvcache_start_index";
inline constexpr const char* kAttentionMask = "attention_mask";     // with tree
inline constexpr const char* kAttentionPosId = "attention_pos_id";  // with tree
inline constexpr const char* kLogits = "logits";

inline std::string past(std::int64_t layer) {
  return "past_key_values_" + std::to_string(layer);
}
inline std::string present(std::int64_t layer) {
  return "present_key_values_" + std::to_string(layer);
}

}  // namespace dovetail::graph
