// SPDX-License-Identifier: Apache-2.0
// What the attention kernels of a tier are given, and the function table through which they are
// called. Plain data only: tier objects include this and must not emit shared inline code.
//
// A call runs in three phases, each a parallel loop over items:
//   prepare  (lane, token block): K of new tokens -> norm, RoPE, cache; V -> cache; padding rows
//            -> zero. The first items of a lane also copy a separate past.
//   attend   (lane, KV head, row block, key split): a "row" is one query head of one token, and the
//            rows of a KV head are packed token-major, row r = token * group + head within the
//            group, so that K and V are read once for all of them. Row blocks cut long prompts, key
//            splits long caches.
//   merge    (lane, KV head, row block): folds key splits; absent when there is one split.
#pragma once

#include <cstddef>
#include <cstdint>

#include "dovetail/tensor.h"

namespace dovetail {

// Everything that is the same for all items of a call.
struct AttentionCall {
  // Legend as in dovetail/attention.h; group = Hq / Hk.
  std::int64_t batch, tokens, capacity, q_heads, kv_heads, group, d, rotary, rope_rows;
  DataType activation_type, cache_type;
  bool shared_rope, tree, norm;
  std::int64_t window;  // -1: off
  float norm_eps;
  float q_factor;          // folded into Q: exp2 of the (uncapped) score is the weight
  float cap, cap_to_log2;  // score' = cap_to_log2 * tanh(dot) when cap > 0
  float k_scale, v_scale;  // FP8, otherwise 1
  const void* qkv;
  const void* past;  // null: in place
  void* cache;
  const float* rope;
  const std::int32_t* mask;
  const std::int32_t* position_ids;
  const void* q_norm_weight;
  const void* k_norm_weight;
  void* output;
};

struct AttentionLane {
  std::int64_t index, history, new_tokens;
};

// Tokens [token_begin, token_end) of a lane, and its share of the past to copy.
struct PrepareItem {
  AttentionLane lane;
  std::int64_t token_begin, token_end;
  std::int64_t copy_begin, copy_end;  // slots
};

struct AttendItem {
  AttentionLane lane;
  std::int64_t kv_head;
  std::int64_t row_begin, row_end;  // of new_tokens * group
  std::int64_t key_begin, key_end;  // slots
  float* partial;                   // null: the only split, writes the output. Else rows of
                                    // {top, total, sums[D]} (top in log2 units)
};

struct MergeItem {
  AttentionLane lane;
  std::int64_t kv_head, row_begin, row_end;
  const float* partials;  // split-major: [splits][row_stride] floats
  std::int64_t splits, split_stride;
};

// Sizes that shape a kernel's scratch memory; chosen by the plan.
struct AttentionBlock {
  std::int64_t rows;  // most rows of an attend item
  std::int64_t keys;  // keys handled between two softmax updates
};

// Where the pieces of an attend item's scratch lie, in floats. Pure; shared by plan and kernels.
struct AttentionScratch {
  std::int64_t query, sums, scores, keys, values, top, total, row, bounds, floats;
};

struct AttentionKernels {
  const char* tier;
  std::int64_t lanes;        // floats per vector
  std::int64_t narrow_rows;  // row counts up to this stream K and V without a converted copy
  void (*prepare)(const AttentionCall& call, const PrepareItem& item, float* scratch);
  void (*attend)(const AttentionCall& call, const AttendItem& item, const AttentionBlock& block,
                 const AttentionScratch& at, float* scratch);
  void (*merge)(const AttentionCall& call, const MergeItem& item, float* scratch);
};

extern const AttentionKernels kAttentionGeneric;
extern const AttentionKernels kAttentionAvx2;
extern const AttentionKernels kAttentionAvx512;

}  // namespace dovetail
