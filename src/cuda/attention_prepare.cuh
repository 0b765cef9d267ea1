// SPDX-License-Identifier: Apache-2.0
// The pass before attention, for calls with more than one new token: their K and V, normed, rotated
// and rounded to the cache's type, go to the cache slots. Padding tokens write nothing. For trees
// it also folds padding and window into the mask, so that attention asks one bit per key.
//
// (A call of one token needs no such pass, and queries are made ready by the blocks that use them.)
#pragma once

#include "cuda/attention_head.cuh"

namespace dovetail::cuda {

// One word of the mask a warp, one token a lane.
DOVETAIL_DEVICE void settle_tree_mask(const AttentionArguments& p, const Lane& lane, int32_t warp,
                                      int32_t warps) {
  const int32_t count = p.tokens * p.mask_words;
  for (int32_t i = warp; i < count; i += warps) {
    const int32_t token = p.mask_words == 1 ? i : i / p.mask_words;
    const int32_t other = (i - token * p.mask_words) * 32 + static_cast<int32_t>(ptx::lane_index());
    const int64_t word = int64_t{lane.index} * count + i;
    const int32_t own = position_of(p, lane, token), position = position_of(p, lane, other);
    const bool marked = (p.mask[word] >> ptx::lane_index() & 1) != 0;
    const bool seen = marked && own >= 0 && position >= 0 && position >= window_begin(p, own);
    const uint32_t bits = ptx::ballot(seen);
    if (ptx::lane_index() == 0) p.tree_mask[word] = bits;
  }
}

// Which head of which token: K of all heads, then V.
struct NewRow {
  int32_t token, part, head, position;
};
DOVETAIL_DEVICE NewRow new_row(const AttentionArguments& p, const Lane& lane, uint32_t item) {
  const auto token = static_cast<int32_t>(item / static_cast<uint32_t>(2 * p.kv_heads));
  const int32_t head = static_cast<int32_t>(item) - token * 2 * p.kv_heads;
  const int part = head < p.kv_heads ? 0 : 1;
  return {token, part, head - part * p.kv_heads,
          token < p.tokens ? position_of(p, lane, token) : -1};
}

template <class Cache>
DOVETAIL_DEVICE void put_new_chunk(const AttentionArguments& p, const Lane& lane, const NewRow& row,
                                   int32_t first, Chunk x) {
  scale_for_cache<Cache>(x, p, row.part);
  const int64_t to = cache_row(p, lane.index, row.part, row.head, lane.history + row.token);
  store_chunk<Cache>(p.cache, to + first, x);
}

// Grid [blocks of kPrepareTurns * kPrepareThreads / lanes_of_pairs rows, B].
template <class T, class Cache>
DOVETAIL_KERNEL(kPrepareThreads, 2)
attention_prepare(const DOVETAIL_GRID_CONSTANT AttentionArguments p) {
  ptx::wait_for_previous_kernel();
  ptx::let_next_kernel_start();
  const Lane lane = lane_of(p, static_cast<int32_t>(ptx::block_index().y));
  if (p.mode == AttentionMode::kTreeDecode) {
    constexpr int kWarps = kPrepareThreads / ptx::kWarpSize;
    settle_tree_mask(p, lane,
                     static_cast<int32_t>(ptx::block_index().x * kWarps + ptx::warp_index()),
                     static_cast<int32_t>(ptx::grid_size().x) * kWarps);
  }
  const int lanes = lanes_of_pairs(p.head_size);
  const auto thread = static_cast<uint32_t>(ptx::thread_index().x);
  const uint32_t in_turn = lanes == 4 ? thread / 4 : lanes == 8 ? thread / 8 : thread / 16;
  const auto rows = static_cast<uint32_t>(kPrepareThreads / lanes);  // of a turn
  const auto own = static_cast<int32_t>(thread & static_cast<uint32_t>(lanes - 1));
  const uint32_t base = ptx::block_index().x * kPrepareTurns * rows + in_turn;
  if (p.rotary % 16 != 0) {  // chunk by chunk, with twice the lanes
    const int32_t first = static_cast<int32_t>(thread & static_cast<uint32_t>(2 * lanes - 1)) * 8;
    DOVETAIL_NO_UNROLL
    for (uint32_t i = 0; i < 2 * kPrepareTurns; ++i) {
      const NewRow row = new_row(
          p, lane, ptx::block_index().x * kPrepareTurns * rows + i * (rows / 2) + in_turn / 2);
      const bool exists = row.position >= 0 && first < p.head_size;
      const Chunk x =
          ready_chunk<T>(p, lane, row.token, p.q_heads + row.part * p.kv_heads + row.head,
                         row.position, first, exists, 2 * lanes);
      if (exists) put_new_chunk<Cache>(p, lane, row, first, x);
    }
    return;
  }
  NewRow row[kPrepareTurns];
  ChunkPair at[kPrepareTurns];
  RawPair raw[kPrepareTurns];
  DOVETAIL_UNROLL
  for (int i = 0; i < kPrepareTurns; ++i) {
    row[i] = new_row(p, lane, base + static_cast<uint32_t>(i) * rows);
    at[i] = row[i].part == 0 ? chunk_pair(p, own) : ChunkPair{16 * own, 16 * own + 8, false};
    raw[i] = {};
    if (row[i].position < 0) continue;
    const int32_t head = p.q_heads + row[i].part * p.kv_heads + row[i].head;
    raw[i] = load_pair<T>(p, head_row(p, lane, row[i].token, head), at[i],
                          cos_sin_of(p, lane, row[i].position));
  }
  DOVETAIL_UNROLL
  for (int i = 0; i < kPrepareTurns; ++i) {
    Chunk x[2];
    finish_pair<T>(x, raw[i], p, at[i], row[i].part == 0 ? p.k_norm_weight : nullptr, lanes);
    if (row[i].position < 0) continue;
    if (at[i].low < p.head_size) put_new_chunk<Cache>(p, lane, row[i], at[i].low, x[0]);
    if (at[i].high < p.head_size) put_new_chunk<Cache>(p, lane, row[i], at[i].high, x[1]);
  }
}

// Copies the slots that a lane holds from `past` to `cache`. Grid [blocks, 2 * Hk, B].
template <class Cache>
DOVETAIL_KERNEL(kPrepareThreads)
attention_copy_past(const DOVETAIL_GRID_CONSTANT AttentionArguments p) {
  const Lane lane = lane_of(p, static_cast<int32_t>(ptx::block_index().z));
  const auto part = static_cast<int>(ptx::block_index().y) / p.kv_heads;
  const int32_t head = static_cast<int32_t>(ptx::block_index().y) % p.kv_heads;
  const int64_t row = cache_row(p, lane.index, part, head, 0) * static_cast<int64_t>(sizeof(Cache));
  const auto* from = static_cast<const char*>(p.past) + row;
  auto* to = static_cast<char*>(p.cache) + row;
  const int64_t bytes = int64_t{lane.history} * p.head_size * static_cast<int64_t>(sizeof(Cache));
  const int64_t step = int64_t{ptx::grid_size().x} * kPrepareThreads * 16;
  int64_t at = (int64_t{ptx::block_index().x} * kPrepareThreads + ptx::thread_index().x) * 16;
  for (; at < bytes; at += step) {
    ptx::store_stream_16(to + at, ptx::load_stream_16(from + at));
  }
}

}  // namespace dovetail::cuda
