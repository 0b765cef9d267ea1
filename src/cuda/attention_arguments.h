// SPDX-License-Identifier: Apache-2.0
// What the attention kernels are given: one struct for all of them. Plain data.
//
// Legend: B lanes, S new tokens (padded), C capacity, Hq / Hk heads, group = Hq / Hk, D head size,
// R rotary width. Workspace pointers are marked W; nothing in them is read that this call did not write.
#pragma once

#include <cstdint>

#include "dovetail/attention.h"

namespace dovetail::cuda {

struct AttentionArguments {
  const void* qkv;                      // [B, S, Hq + 2 Hk, D]
  const void* past;                     // [B, 2, Hk, C, D]; null: in place
  void* cache;                          // [B, 2, Hk, C, D]
  const std::int32_t* context_lengths;  // [B]
  const std::int32_t* start_index;      // [B] or null
  const float* rope;                    // [1 or B, rope_rows, R]
  const std::uint32_t* mask;            // [B, S, mask_words]; trees
  const std::int32_t* position_ids;     // [B, S]; trees
  const float* kv_scales;               // [2] or null
  const void* q_norm_weight;            // [D] or null
  const void* k_norm_weight;            // [D] or null
  void* output;                         // [B, S, Hq, D]

  std::uint32_t* tree_mask;  // W [B, S, mask_words]: mask without padding and out of window
  std::uint64_t* arrivals;   // W [B, Hk, row_blocks]: splits that are done (ptx/arrival.cuh)
  float* partial_tops;  // W [B, Hk, row_blocks, splits, rows, 2]: largest score, sum of weights
  float* partial_sums;  // W [B, Hk, row_blocks, splits, rows, D]; one token: Part (decode_fold)

  std::int64_t capacity, rope_rows;
  std::int32_t batch, tokens, q_heads, kv_heads, group, head_size, rotary, mask_words;
  std::int32_t window;              // -1: off
  std::int32_t row_blocks, splits;  // of the grid
  std::int32_t least_tiles;         // a split gets at least so many stages of keys
  std::int32_t cluster_shift;       // 2^it splits are a cluster
  float norm_eps, scale, softcap;
  float per_head_size, per_softcap;  // 1 / D and 1 / softcap: a division is a call
  AttentionMode mode;
  bool shared_rope;
  bool heads_first;  // of the row blocks of all heads, those with the most keys run first
};

}  // namespace dovetail::cuda
