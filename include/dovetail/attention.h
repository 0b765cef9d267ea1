// SPDX-License-Identifier: Apache-2.0
// AttentionPlugin: RoPE + KV-cache write + attention over the cache, in one call.
//
// Legend: B batch (lanes), S new tokens of this call (padded to the longest lane), C cache capacity
// in slots, Hq / Hk query / KV heads (Hk divides Hq), D head size, R rotary width (R <= D, even).
//
// For every lane the new tokens' K and V are written into the cache, then each new token attends to
// the cached tokens that it may see. Softmax and accumulation are fp32. Contract: the TensorRT
// Edge-LLM 0.5 AttentionPlugin; extensions are attributes whose default is what that plugin does.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "dovetail/cpu.h"
#include "dovetail/status.h"
#include "dovetail/tensor.h"

namespace dovetail {

// Attribute names are the field names. Integers are 32 bit: TensorRT plugin fields carry no others.
struct AttentionAttributes {
  std::int32_t num_q_heads = 0;
  std::int32_t num_kv_heads = 0;
  std::int32_t head_size = 0;
  std::int32_t enable_tree_attention = 0;  // 1: attention_mask and attention_pos_id are present
  std::int32_t enable_fp8_kv_cache = 0;    // 1: E4M3 cache, input kv_scales is present
  std::int32_t sliding_window_size = -1;   // a token sees positions > its own - window; -1: all
  float attention_scale = 0.0f;            // score factor; 0: 1 / sqrt(D)
  float logit_softcap = 0.0f;              // score = cap * tanh(score / cap); 0: off
  std::int32_t enable_qk_norm = 0;         // 1: RMSNorm per head on Q and K before RoPE
  float rms_norm_eps = 1e-6f;
};

enum class AttentionMode {
  kPrefill,         // every lane is empty: kv_start_index has length 0
  kChunkedPrefill,  // new tokens behind what the lane holds
  kDecode,          // S == 1
  kTreeDecode,      // S draft tokens with their own mask and positions
};
const char* name_of(AttentionMode mode);

// A checked call: everything that shapes and attributes say, nothing that only the data says.
struct AttentionProblem {
  AttentionAttributes attributes;
  AttentionMode mode = AttentionMode::kPrefill;
  DataType activation_type = DataType::kFloat16;  // QKV and output: fp32, fp16, bf16
  DataType cache_type = DataType::kFloat16;       // fp32, fp16, bf16, or E4M3 with kv_scales
  std::int64_t batch = 0;                         // B
  std::int64_t tokens = 0;                        // S
  std::int64_t capacity = 0;                      // C
  std::int64_t rope_batch = 1;                    // 1 (shared) or B
  std::int64_t rope_rows = 0;                     // positions in the table, >= C
  std::int64_t rotary_width = 0;                  // R
};

// The call's tensors. Device pointers for the CUDA plan, host pointers for the CPU plan. A context
// length counts the new tokens in (chunked) prefill, and all tokens of the lane, this call's
// included, in decode and tree decode. Bit j % 32 of mask word j / 32: the row's token sees token
// j of the call.
struct AttentionBuffers {
  const void* qkv = nullptr;                       // [B, S, (Hq + 2 Hk) * D]: Q, K and V heads
  const void* past_kv_cache = nullptr;             // as kv_cache; another buffer is copied there
  void* kv_cache = nullptr;                        // [B, 2, Hk, C, D] read and written; dim 1: K, V
  const std::int32_t* context_lengths = nullptr;   // [B] new tokens or all tokens, see above
  const float* rope_cos_sin = nullptr;             // [1 or B, rope_rows, R], R/2 cosines first
  const std::int32_t* kv_start_index = nullptr;    // [B] tokens in the lane; null in kPrefill
  const std::int32_t* attention_mask = nullptr;    // [B, S, ceil(S/32)] bits, see above
  const std::int32_t* attention_pos_id = nullptr;  // [B, S] RoPE positions; -1: padding token
  const float* kv_scales = nullptr;                // [2] {K, V}: real value = E4M3 value * scale
  const void* q_norm_weight = nullptr;             // [D], activation type
  const void* k_norm_weight = nullptr;             // [D], activation type
  void* output = nullptr;                          // [B, S, Hq, D]; rows of padding tokens are zero
  void* workspace = nullptr;                       // plan.workspace_bytes(), 64-byte aligned
};

// Checks types and shapes of the inputs present, in contract order; the shapes tell the mode.
Result<AttentionProblem> describe_attention(const AttentionAttributes& attributes,
                                            std::span<const TensorDesc> inputs);
// Checks a problem that was filled in by hand.
Status validate(const AttentionProblem& problem);

// How one call runs on the CPU. Immutable; may run on several threads with separate workspaces.
class CpuAttentionPlan {
 public:
  std::size_t workspace_bytes() const;
  // One line: tier, work split, block sizes.
  std::string describe() const;
  // No allocation. Lengths that do not fit the capacity are an error that names the lane.
  Status run(const AttentionBuffers& buffers, const TaskRunner& tasks) const;

  struct State;
  explicit CpuAttentionPlan(std::shared_ptr<const State> state) : state_(std::move(state)) {}

 private:
  std::shared_ptr<const State> state_;
};

Result<CpuAttentionPlan> plan(const AttentionProblem& problem, const CpuDevice& device);

}  // namespace dovetail
