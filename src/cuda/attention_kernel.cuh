// SPDX-License-Identifier: Apache-2.0
// output = softmax(Q K^T) V over the cache, for decode, trees and prefill.
//
// A block takes one row block of one KV head and one split of the keys it can see
// (attention_tile.h). Keys and values stream through `stages` shared-memory stages, one barrier
// each; scores, weights and sums stay in registers, accumulated in fp32 (FlashAttention-2, Dao
// 2023; split keys as in Flash-Decoding). Stages that nobody sees are not loaded, stages that
// everybody sees are not masked. Reads Q and the tree mask that attention_prepare left in the
// workspace, and the cache as it lies.
#pragma once

#include "cuda/attention_output.cuh"

namespace dovetail::cuda {

template <class S>
DOVETAIL_DEVICE void begin_rows(WarpState<S>& state, const AttentionArguments& p, const Lane& lane,
                                const RowBlock& block, int32_t warp_row) {
  DOVETAIL_UNROLL
  for (int m = 0; m < S::kRowTiles; ++m) {
    DOVETAIL_UNROLL
    for (int n = 0; n < S::kHeadSize / 8; ++n) {
      DOVETAIL_UNROLL
      for (float& sum : state.sums[m][n]) sum = 0.0f;
    }
    DOVETAIL_UNROLL
    for (int half = 0; half < 2; ++half) {
      const int32_t row = block.row_begin + warp_row + m * 16 + half * 8 +
                          static_cast<int32_t>(ptx::lane_index()) / 4;
      const int32_t token = row / p.group;
      state.bounds[m][half] = bounds_of(p, lane, token);
      state.top[m][half] = minus_infinity();
      state.total[m][half] = 0.0f;
      state.token[m][half] = lane.index * p.tokens + token;
    }
  }
}

// One stage of keys for the warp's rows; `first` is the slot of the warp's first key.
template <class S>
DOVETAIL_DEVICE void attend_stage(WarpState<S>& state, QueryFragments<S>& query_held,
                                  const std::byte* query, const std::byte* stage, int key,
                                  const AttentionArguments& p, const ScoreRule& rule, bool masked,
                                  int32_t history, int32_t first) {
  const std::byte* keys = stage + key * S::kCacheChunks * 16;
  Scores<S> scores;
  multiply_keys<S>(scores, query_held, query, keys);
  if (rule.cap > 0.0f) cap_scores<S>(scores, rule);
  if (masked) mask_scores<S>(scores, state, p, history, first);
  update_softmax<S>(scores, state, rule.unit);
  multiply_values<S>(state, scores, keys + S::kStageBytes / 2);
}

// Grid [row blocks * splits, Hk, B]; within x the split runs fastest and the last row block, which
// sees the most keys, comes first.
template <int Index, class T, class Cache>
DOVETAIL_KERNEL(kAttentionTiles[Index].threads(), kAttentionTiles[Index].resident_blocks())
attention_kernel(const DOVETAIL_GRID_CONSTANT AttentionArguments p) {
  using S = AttentionShape<Index, T, Cache>;
  constexpr AttentionTile kTile = S::kTile;
  DOVETAIL_SHARED(uint32_t, arrived);
  auto* shared = ptx::shared_memory<std::byte>();
  std::byte* stages = shared + query_bytes(kTile);
  ptx::wait_for_previous_kernel();

  // Which rows, which keys.
  const auto x = static_cast<int32_t>(ptx::block_index().x);
  const auto kv_head = static_cast<int32_t>(ptx::block_index().y);
  const int32_t row_block = p.row_blocks - 1 - x / p.splits;
  const Lane lane = lane_of(p, static_cast<int32_t>(ptx::block_index().z));
  const RowBlock block = row_block_of(p, lane, row_block * kTile.rows(), kTile.rows());
  if (block.row_end <= block.row_begin) return;
  const Split split = split_of(p, block, kTile.keys, x % p.splits);
  if (x % p.splits >= split.count) return;

  // The pipeline: queries travel with the first stage.
  const KeySource source = key_source(p, lane, kv_head, block.end, sizeof(Cache));
  const auto load = [&](int32_t tile) {
    if (tile < split.last) {
      load_keys<S>(stages + (tile - split.first) % S::kStages * S::kStageBytes, source,
                   block.begin + tile * kTile.keys);
    }
    ptx::copy_async_commit();
  };
  const int64_t head_row = (int64_t{lane.index} * p.kv_heads + kv_head) * p.tokens * p.group;
  load_query<S>(shared, p, head_row + block.row_begin, block.row_end - block.row_begin);
  DOVETAIL_UNROLL
  for (int i = 0; i < S::kStages - 1; ++i) load(split.first + i);

  const auto warp = static_cast<int32_t>(ptx::warp_index());
  const int32_t warp_row = warp / kTile.key_warps * kTile.warp_rows();
  const int32_t warp_key = warp % kTile.key_warps * S::kWarpKeys;
  const std::byte* query = shared + warp_row * S::kQueryChunks * 16;
  const ScoreRule rule = score_rule(p);
  WarpState<S> state;
  begin_rows<S>(state, p, lane, block, warp_row);
  QueryFragments<S> query_held;
  for (int32_t tile = split.first; tile < split.last; ++tile) {
    ptx::copy_async_wait<S::kStages - 2>();
    ptx::sync_threads();  // the stage is here, and everyone is done with the one that is next to
                          // fill
    load(tile + S::kStages - 1);
    if constexpr (S::kHoldQuery) {
      if (tile == split.first) {
        DOVETAIL_UNROLL
        for (int m = 0; m < S::kRowTiles; ++m) {
          DOVETAIL_UNROLL
          for (int step = 0; step < S::kSteps; ++step) {
            query_fragment<S>(query_held[m][step], query, m * 16, step);
          }
        }
      }
    }
    const int32_t first = block.begin + tile * kTile.keys;
    const bool masked = first < block.all_begin || first + kTile.keys > block.all_end;
    attend_stage<S>(state, query_held, query,
                    stages + (tile - split.first) % S::kStages * S::kStageBytes, warp_key, p, rule,
                    masked, lane.history, first + warp_key);
  }
  ptx::copy_async_wait<0>();

  // Where the rows go.
  const int64_t item = (int64_t{lane.index} * p.kv_heads + kv_head) * p.row_blocks + row_block;
  const int64_t part_row = (item * p.splits + x % p.splits) * kTile.rows();
  const bool alone = split.count == 1;
  const RowSink sink{.output = p.output,
                     .token_row = int64_t{lane.index} * p.tokens,
                     .row_begin = block.row_begin,
                     .rows = block.row_end - block.row_begin,
                     .kv_head = kv_head,
                     .group = p.group,
                     .q_heads = p.q_heads,
                     .head_size = p.head_size,
                     .value_scale = p.kv_scales == nullptr ? 1.0f : p.kv_scales[1],
                     .tops = alone ? nullptr : p.partial_tops + 2 * part_row,
                     .sums = alone ? nullptr : p.partial_sums + part_row * p.head_size};
  settle<S>(state, rule.unit);
  if constexpr (kTile.key_warps == 1) {
    put_rows<S>(state, sink, warp_row);
  } else {
    fold_key_warps<S>(state, sink, stages);
  }
  if (alone) return;

  ptx::sync_threads();
  if (ptx::thread_index().x == 0) {
    arrived = ptx::atomic_add_acquire_release(&p.arrivals[item], 1);
  }
  ptx::sync_threads();
  if (arrived != static_cast<uint32_t>(split.count) - 1) return;
  const int64_t first_row = item * p.splits * kTile.rows();
  fold_splits<S>(p, sink, p.partial_tops + 2 * first_row, p.partial_sums + first_row * p.head_size,
                 split.count);
}

}  // namespace dovetail::cuda
