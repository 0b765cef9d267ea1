// SPDX-License-Identifier: Apache-2.0
// output = softmax(Q K^T) V over the cache, for decode, trees and prefill.
//
// A block takes one row block of one KV head and one split of the keys it can see
// (attention_tile.h). Keys and values stream through `stages` shared-memory stages, one barrier
// each; scores, weights and sums stay in registers, accumulated in fp32 (FlashAttention-2, Dao
// 2023; split keys as in Flash-Decoding). Stages that nobody sees are not loaded, stages that
// everybody sees are not masked. Queries are normed and rotated on the way into shared memory.
//
// A call of one token is `fused`: the block that sees the new token's slot also makes its K and V,
// for the cache and for itself; this kernel is the whole call. Otherwise attention_prepare has
// written the new tokens' K and V, and this kernel starts beside it: what came before that kernel is
// done, so queries are made ready before waiting for it.
#pragma once

#include "cuda/attention_output.cuh"

namespace dovetail::cuda {

template <class S>
DOVETAIL_DEVICE void begin_rows(WarpState<S>& state) {
  DOVETAIL_UNROLL
  for (int m = 0; m < S::kRowTiles; ++m) {
    DOVETAIL_UNROLL
    for (int n = 0; n < S::kHeadSize / 8; ++n) {
      DOVETAIL_UNROLL
      for (float& sum : state.sums[m][n]) sum = 0.0f;
    }
    DOVETAIL_UNROLL
    for (int half = 0; half < 2; ++half) {
      state.top[m][half] = minus_infinity();
      state.total[m][half] = 0.0f;
    }
  }
}

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

// A fused call's lengths and queries in L2, before they may be read.
template <class T>
DOVETAIL_DEVICE void ask_for_inputs(const AttentionArguments& p) {
  const auto thread = static_cast<int32_t>(ptx::thread_index().x);
  const auto lane = static_cast<int32_t>(ptx::block_index().z);
  if (thread == 0) {
    ptx::prefetch_to_l2(p.context_lengths + lane);
    if (p.start_index != nullptr) ptx::prefetch_to_l2(p.start_index + lane);
  }
  constexpr int kLine = 128 / static_cast<int>(sizeof(T));
  const int32_t heads = static_cast<int32_t>(ptx::block_index().y) * p.group;
  if (thread * kLine < p.group * p.head_size) {
    ptx::prefetch_to_l2(static_cast<const T*>(p.qkv) + head_row(p, {lane, 0, 0}, 0, heads) +
                        thread * kLine);
  }
}

// Grid [row blocks * splits, Hk, B]; within x the split runs fastest and the last row block, which
// sees the most keys, comes first.
template <int Index, class T, class Cache>
DOVETAIL_KERNEL(kAttentionTiles[Index].threads(), kAttentionTiles[Index].resident_blocks())
attention_kernel(const DOVETAIL_GRID_CONSTANT AttentionArguments p) {
  using S = AttentionShape<Index, T, Cache>;
  constexpr AttentionTile kTile = S::kTile;
  DOVETAIL_SHARED(uint32_t, arrived);
  DOVETAIL_SHARED(FreshRows<S>, fresh);
  DOVETAIL_SHARED(RowView[kTile.rows()], views);
  auto* shared = ptx::shared_memory<std::byte>();
  std::byte* stages = shared + query_bytes(kTile);
  const auto wait = [] {
    ptx::wait_for_previous_kernel();
    ptx::let_next_kernel_start();
  };
  // Asking for the first stages in L2 before this wait made a step slower: 18.9 -> 21.0 us for
  // 8k keys on an H100, since the previous kernel was reading at the speed of memory.
  const bool fused = kTile.rows() == 16 && p.fused;
  if (fused) {
    ask_for_inputs<T>(p);
    wait();
  }

  const auto [kv_head, row_block, part, lane, block, split] = place_of(p, kTile);
  if (part == 0) zero_padding<T>(p, lane, kv_head, row_block * kTile.rows(), kTile.rows());
  if (part >= split.count || split.last == 0) {
    if (!fused) wait();
    return;
  }

  // The pipeline. A fused block that sees the new token's slot fills it itself.
  KeySource source = key_source(p, lane, kv_head, block.end, sizeof(Cache));
  const bool with_token = fused && part == split.count - 1;
  if (with_token) source.fresh_slot = source.plain_end = lane.history;
  const auto stage_of = [&](int32_t tile) {
    return stages + (tile - split.first) % S::kStages * S::kStageBytes;
  };
  const auto load = [&](int32_t tile) {
    if (tile < split.last) {
      load_keys<S>(stage_of(tile), source, p, lane, block.begin + tile * kTile.keys);
    }
    ptx::copy_async_commit();
  };
  const auto load_first_stages = [&] {
    DOVETAIL_UNROLL
    for (int i = 0; i < S::kStages - 1; ++i) load(split.first + i);
  };
  const int64_t item = (int64_t{lane.index} * p.kv_heads + kv_head) * p.row_blocks + row_block;
  const bool counts = kTile.rows() <= 16 && split.count > 1 && ptx::thread_index().x == 0;
  uint64_t* arrivals = p.arrivals + item;
  uint64_t found = 0;
  const auto start_pipeline = [&] {
    if (counts) found = ptx::look_at_arrivals(arrivals);
    load_first_stages();
  };
  prepare_rows<S>(shared, p, lane, block, kv_head, with_token, fresh.part, [&] {
    if (fused) start_pipeline();
  });
  if (!fused) {
    wait();
    start_pipeline();
  }
  if (counts) ptx::claim_arrivals(arrivals, found);
  const auto put_fresh_row = [&](int32_t tile) {
    if (tile < split.last) {
      put_fresh<S>(stage_of(tile), fresh, source, p.head_size, block.begin + tile * kTile.keys);
    }
  };
  if (with_token) {
    ptx::sync_threads();
    DOVETAIL_UNROLL
    for (int i = 0; i < S::kStages - 1; ++i) put_fresh_row(split.first + i);
  }

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
    if (with_token) put_fresh_row(tile + S::kStages - 1);
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
  if constexpr (kTile.rows() <= 16) {
    fold_in_block<S>(p, sink, p.partial_tops + 2 * first_row,
                     p.partial_sums + first_row * p.head_size, split.count, stages);
  }
}

}  // namespace dovetail::cuda
