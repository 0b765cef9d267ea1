// SPDX-License-Identifier: Apache-2.0
#include "ops/attention_check.h"

#include <cmath>

#include "ops/message.h"

namespace dovetail {
namespace {

Status check_present(const AttentionProblem& p, const AttentionBuffers& buffers) {
  const bool tree = p.mode == AttentionMode::kTreeDecode;
  const bool norm = p.attributes.enable_qk_norm != 0;
  const struct {
    const char* name;
    const void* pointer;
    bool needed;
  } tensors[] = {
      {"qkv", buffers.qkv, true},
      {"kv_cache", buffers.kv_cache, true},
      {"context_lengths", buffers.context_lengths, true},
      {"rope_rotary_cos_sin", buffers.rope_cos_sin, true},
      {"kvcache_start_index", buffers.kv_start_index, p.mode == AttentionMode::kChunkedPrefill},
      {"attention_mask", buffers.attention_mask, tree},
      {"attention_pos_id", buffers.attention_pos_id, tree},
      {"kv_scales", buffers.kv_scales, p.cache_type == DataType::kFloat8E4M3},
      {"q_norm_weight", buffers.q_norm_weight, norm},
      {"k_norm_weight", buffers.k_norm_weight, norm},
      {"attention", buffers.output, true},
  };
  for (const auto& tensor : tensors) {
    if (tensor.needed && tensor.pointer == nullptr) {
      return invalid_argument("attention: ", tensor.name, " is null, expected a buffer in ",
                              name_of(p.mode));
    }
  }
  return Status::success();
}

}  // namespace

LaneExtent lane_extent(const AttentionProblem& p, const AttentionBuffers& buffers, std::int64_t b) {
  const bool starts = p.mode != AttentionMode::kPrefill && buffers.kv_start_index != nullptr;
  return lane_extent(p.mode, p.tokens, buffers.context_lengths[b],
                     starts ? buffers.kv_start_index[b] : 0);
}

Status check_call(const AttentionProblem& p, const AttentionBuffers& buffers) {
  if (p.batch == 0 || p.tokens == 0) {
    return Status::success();
  }
  DOVETAIL_RETURN_IF_ERROR(check_present(p, buffers));
  for (std::int64_t b = 0; b < p.batch; ++b) {
    const LaneExtent lane = lane_extent(p, buffers, b);
    if (!lane.fits(p.capacity)) {
      return {
          StatusCode::kResource,
          concat("attention: lane ", b, " holds ", lane.history, " tokens and brings ",
                 lane.new_tokens, " (", name_of(p.mode), ", context length ",
                 buffers.context_lengths[b], "), expected to fit the capacity C = ", p.capacity)};
    }
    if (p.mode != AttentionMode::kTreeDecode) {
      continue;
    }
    for (std::int64_t i = 0; i < lane.new_tokens; ++i) {
      const std::int32_t position = buffers.attention_pos_id[b * p.tokens + i];
      if (position < -1 || position >= p.rope_rows) {
        return invalid_argument("attention: attention_pos_id[", b, ", ", i, "] is ", position,
                                ", expected -1 (padding) or a row of the RoPE table, 0 to ",
                                p.rope_rows - 1);
      }
    }
  }
  if (p.cache_type == DataType::kFloat8E4M3) {
    for (int i = 0; i < 2; ++i) {
      const float scale = buffers.kv_scales[i];
      if (!(scale > 0.0f) || !std::isfinite(scale)) {
        return invalid_argument("attention: kv_scales[", i, "] is ", scale,
                                ", expected a positive finite number");
      }
    }
  }
  return Status::success();
}

}  // namespace dovetail
