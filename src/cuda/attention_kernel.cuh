// SPDX-License-Identifier: Apache-2.0
// output = softmax(Q K^T) V over the cache, for trees and prompts.
//
// A block takes one row block of one KV head and one split of the keys it can see
// (attention_tile.h). Keys and values stream through `stages` shared-memory stages, one barrier
// each; scores, weights and sums stay in registers, accumulated in fp32 (FlashAttention-2, Dao
// 2023; split keys as in Flash-Decoding). Stages that nobody sees are not loaded, stages that
// everybody sees are not masked. Queries are normed and rotated on the way into shared memory.
//
// attention_prepare has written the new tokens' K and V, and this kernel starts beside it: what came
// before that kernel is done, so queries are made ready before waiting for it. (A call of one token
// has a kernel of its own, attention_decode.cuh.)
#pragma once

#include "cuda/attention_fold.cuh"

namespace dovetail::cuda {

DOVETAIL_DEVICE void view_rows(RowView* views, int32_t rows, const AttentionArguments& p,
                               const Lane& lane, int32_t row_begin) {
  for (auto row = static_cast<int32_t>(ptx::thread_index().x); row < rows;
       row += static_cast<int32_t>(ptx::block_size().x)) {
    const int32_t token = token_of_row(p, row_begin + row);
    views[row] = {bounds_of(p, lane, token), lane.index * p.tokens + token};
  }
}

// One stage of keys for the warp's rows; `first` is the slot of the warp's first key.
template <class S>
DOVETAIL_DEVICE void attend_stage(WarpState<S>& state, QueryFragments<S>& query_held,
                                  const std::byte* query, const std::byte* stage, int key,
                                  const RowView* views, const AttentionArguments& p,
                                  const ScoreRule& rule, bool masked, int32_t history,
                                  int32_t first) {
  const std::byte* keys = stage + key * S::kCacheChunks * 16;
  Scores<S> scores;
  multiply_keys<S>(scores, query_held, query, keys);
  if (rule.cap > 0.0f) cap_scores<S>(scores, rule);
  if (masked) mask_scores<S>(scores, views, p, history, first);
  float factors[S::kRowTiles][2];
  weigh<S>(scores, state, rule.unit, factors);
  rescale<S>(state, factors);
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
  DOVETAIL_SHARED(RowView[kTile.rows()], views);
  auto* shared = ptx::shared_memory<std::byte>();
  std::byte* stages = shared + query_bytes(kTile);
  const auto wait = [] {
    ptx::wait_for_previous_kernel();
    ptx::let_next_kernel_start();
  };
  const auto [kv_head, row_block, part, lane, block, split] = place_of(p, kTile);
  if (part == 0) zero_padding<T>(p, lane, kv_head, row_block * kTile.rows(), kTile.rows());
  if (part >= split.count || split.last == 0) {
    wait();
    return;
  }

  const KeySource source = key_source(p, lane, kv_head, block.end, sizeof(Cache));
  const auto stage_of = [&](int32_t tile) {
    return stages + (tile - split.first) % S::kStages * S::kStageBytes;
  };
  const auto load = [&](int32_t tile) {
    if (tile < split.last) {
      load_keys<S>(stage_of(tile), source, p, lane, block.begin + tile * kTile.keys);
    }
    ptx::copy_async_commit();
  };
  const int64_t item = (int64_t{lane.index} * p.kv_heads + kv_head) * p.row_blocks + row_block;
  const bool counts = kTile.rows() <= 16 && split.count > 1 && ptx::thread_index().x == 0;
  uint64_t* arrivals = p.arrivals + item;
  prepare_rows<S>(shared, p, lane, block, kv_head);
  wait();
  if (counts) ptx::claim_arrivals(arrivals, ptx::look_at_arrivals(arrivals));
  DOVETAIL_UNROLL
  for (int i = 0; i < S::kStages - 1; ++i) load(split.first + i);

  const auto warp = static_cast<int32_t>(ptx::warp_index());
  const int32_t warp_row = warp / kTile.key_warps * kTile.warp_rows();
  const int32_t warp_key = warp % kTile.key_warps * S::kWarpKeys;
  const std::byte* query = shared + warp_row * S::kQueryChunks * 16;
  const ScoreRule rule = score_rule(p);
  WarpState<S> state;
  begin_rows<S>(state);
  view_rows(views, kTile.rows(), p, lane, block.row_begin);
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
    attend_stage<S>(state, query_held, query, stage_of(tile), warp_key, views + warp_row, p, rule,
                    masked, lane.history, first + warp_key);
  }
  ptx::copy_async_wait<0>();

  // Where the rows go. With many rows the place is found anew: registers are short in the loop.
  const Place end =
      kTile.rows() > 16 ? place_of(p, kTile) : Place{kv_head, row_block, part, lane, block, split};
  const int64_t end_item =
      (int64_t{end.lane.index} * p.kv_heads + end.kv_head) * p.row_blocks + end.row_block;
  const int64_t part_row = (end_item * p.splits + end.part) * kTile.rows();
  const bool alone = end.split.count == 1;
  RowSink sink = row_sink(p, end.lane, end.block, end.kv_head);
  if (!alone) sink.leave_in(p, part_row);
  settle<S>(state, views + warp_row, rule.unit);
  if constexpr (kTile.key_warps == 1) {
    put_rows<S>(state, sink, warp_row);
  } else {
    fold_key_warps<S>(state, sink, stages);
  }
  // Many rows are folded by a kernel of their own: one block would take too long.
  if (alone || kTile.rows() > 16) return;

  ptx::sync_threads();
  if (ptx::thread_index().x == 0) {
    arrived = ptx::arrive(arrivals);
  }
  ptx::sync_threads();
  if (arrived != static_cast<uint32_t>(split.count) - 1) return;
  if (ptx::thread_index().x == 0) ptx::leave_arrivals(arrivals);
  const int64_t first_row = item * p.splits * kTile.rows();
  sink.tops = sink.sums = nullptr;
  DOVETAIL_NO_UNROLL
  for (auto row = static_cast<int32_t>(ptx::warp_index()); row < sink.rows;
       row += S::kThreads / ptx::kWarpSize) {
    fold_splits<S>(p, sink, p.partial_tops + 2 * first_row,
                   p.partial_sums + first_row * p.head_size, split.count, row);
  }
}

}  // namespace dovetail::cuda
