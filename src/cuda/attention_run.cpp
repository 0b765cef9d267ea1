// SPDX-License-Identifier: Apache-2.0
#include "cuda/attention_run.h"

#include <tuple>

#include "ops/attention.h"
#include "ops/message.h"

namespace dovetail::cuda {
namespace {

const AttentionFunctions& functions_of(const AttentionProblem& p) {
  const bool e4m3 = p.cache_type == DataType::kFloat8E4M3;
  if (p.activation_type == DataType::kFloat16) return e4m3 ? kAttentionFp16E4m3 : kAttentionFp16;
  return e4m3 ? kAttentionBf16E4m3 : kAttentionBf16;
}

const AttentionFunctions& attending_functions_of(const AttentionSchedule& s) {
  if (s.wgmma < 0) return functions_of(s.problem);
  return s.problem.activation_type == DataType::kFloat16 ? kAttentionWgmmaFp16
                                                         : kAttentionWgmmaBf16;
}

Status check_buffers(const AttentionSchedule& s, const AttentionBuffers& b) {
  const AttentionProblem& p = s.problem;
  const bool tree = p.mode == AttentionMode::kTreeDecode;
  const bool norm = p.attributes.enable_qk_norm != 0;
  const bool starts = p.mode == AttentionMode::kChunkedPrefill;
  for (const auto& [name, pointer, needed, alignment] :
       {std::tuple("qkv", b.qkv, true, 16), std::tuple("past_kv_cache", b.past_kv_cache, false, 16),
        std::tuple("kv_cache", static_cast<const void*>(b.kv_cache), true, 16),
        std::tuple("context_lengths", static_cast<const void*>(b.context_lengths), true, 4),
        std::tuple("rope_rotary_cos_sin", static_cast<const void*>(b.rope_cos_sin), true, 16),
        std::tuple("kvcache_start_index", static_cast<const void*>(b.kv_start_index), starts, 4),
        std::tuple("attention_mask", static_cast<const void*>(b.attention_mask), tree, 4),
        std::tuple("attention_pos_id", static_cast<const void*>(b.attention_pos_id), tree, 4),
        std::tuple("kv_scales", static_cast<const void*>(b.kv_scales),
                   p.cache_type == DataType::kFloat8E4M3, 4),
        std::tuple("q_norm_weight", b.q_norm_weight, norm, 16),
        std::tuple("k_norm_weight", b.k_norm_weight, norm, 16),
        std::tuple("attention", static_cast<const void*>(b.output), true, 16),
        std::tuple("workspace", static_cast<const void*>(b.workspace), s.workspace.bytes > 0,
                   64)}) {
    if (needed && pointer == nullptr) {
      return invalid_argument("attention: ", name, " is null, expected a buffer in ",
                              name_of(p.mode));
    }
    if (reinterpret_cast<std::uintptr_t>(pointer) % static_cast<unsigned>(alignment) != 0) {
      return invalid_argument("attention: ", name, " is at ", pointer, ", expected a multiple of ",
                              alignment);
    }
  }
  return Status::success();
}

}  // namespace

Status prepare_attention(const AttentionSchedule& s) {
  return attending_functions_of(s).prepare(s);
}

Status run_attention(const AttentionSchedule& s, const AttentionBuffers& b, void* stream) {
  const AttentionProblem& p = s.problem;
  const AttentionAttributes& a = p.attributes;
  if (p.batch == 0 || p.tokens == 0) return Status::success();
  DOVETAIL_RETURN_IF_ERROR(check_buffers(s, b));
  const bool e4m3 = p.cache_type == DataType::kFloat8E4M3;
  const bool norm = a.enable_qk_norm != 0;
  auto* workspace = static_cast<std::byte*>(b.workspace);
  const AttentionArguments arguments{
      .qkv = b.qkv,
      .past = b.past_kv_cache == b.kv_cache ? nullptr : b.past_kv_cache,
      .cache = b.kv_cache,
      .context_lengths = b.context_lengths,
      .start_index = b.kv_start_index,
      .rope = b.rope_cos_sin,
      .mask = reinterpret_cast<const std::uint32_t*>(b.attention_mask),
      .position_ids = b.attention_pos_id,
      .kv_scales = e4m3 ? b.kv_scales : nullptr,
      .q_norm_weight = norm ? b.q_norm_weight : nullptr,
      .k_norm_weight = norm ? b.k_norm_weight : nullptr,
      .output = b.output,
      .tree_mask = reinterpret_cast<std::uint32_t*>(workspace + s.workspace.tree_mask),
      .arrivals = reinterpret_cast<std::uint64_t*>(workspace + s.workspace.arrivals),
      .partial_tops = reinterpret_cast<float*>(workspace + s.workspace.partial_tops),
      .partial_sums = reinterpret_cast<float*>(workspace + s.workspace.partial_sums),
      .capacity = p.capacity,
      .rope_rows = p.rope_rows,
      .batch = static_cast<std::int32_t>(p.batch),
      .tokens = static_cast<std::int32_t>(p.tokens),
      .q_heads = a.num_q_heads,
      .kv_heads = a.num_kv_heads,
      .group = a.num_q_heads / a.num_kv_heads,
      .head_size = a.head_size,
      .rotary = static_cast<std::int32_t>(p.rotary_width),
      .mask_words = static_cast<std::int32_t>((p.tokens + 31) / 32),
      .window = a.sliding_window_size,
      .row_blocks = static_cast<std::int32_t>(s.row_blocks),
      .splits = s.splits,
      .least_tiles = s.least_tiles,
      .cluster_shift = s.cluster_shift,
      .norm_eps = a.rms_norm_eps,
      .scale = softmax_scale(a),
      .softcap = a.logit_softcap,
      .per_head_size = 1.0f / static_cast<float>(a.head_size),
      .per_softcap = a.logit_softcap > 0 ? 1.0f / a.logit_softcap : 0.0f,
      .mode = p.mode,
      .shared_rope = p.rope_batch == 1,
      .heads_first = s.heads_first,
  };
  DOVETAIL_RETURN_IF_ERROR(functions_of(p).before(s, arguments, stream));
  return attending_functions_of(s).attend(s, arguments, stream);
}

}  // namespace dovetail::cuda
