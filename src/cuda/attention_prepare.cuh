// SPDX-License-Identifier: Apache-2.0
// The pass before attention, for calls with more than one new token: their K and V, normed, rotated
// and rounded to the cache's type, go to the cache slots. Padding tokens write nothing. For trees
// it also folds padding and window into the mask, so that attention asks one bit per key.
//
// (A call of one token needs no such pass, and queries are made ready by the blocks that use them.)
#pragma once

#include "cuda/attention_head.cuh"

namespace dovetail::cuda {

DOVETAIL_DEVICE void settle_tree_mask(const AttentionArguments& p, int64_t thread,
                                      int64_t threads) {
  const int64_t count = int64_t{p.batch} * p.tokens * p.mask_words;
  for (int64_t i = thread; i < count; i += threads) {
    const auto token = static_cast<int32_t>(i / p.mask_words % p.tokens);
    const auto first = static_cast<int32_t>(i % p.mask_words) * 32;
    const Lane lane = lane_of(p, static_cast<int32_t>(i / p.mask_words / p.tokens));
    const int32_t own = position_of(p, lane, token);
    uint32_t left = own < 0 ? 0 : p.mask[i], kept = 0;
    for (int32_t j = first; left != 0 && j < lane.fresh; ++j, left >>= 1) {
      const int32_t other = (left & 1) != 0 ? position_of(p, lane, j) : -1;
      if (other >= window_begin(p, own)) kept |= 1u << (j - first);
    }
    p.tree_mask[i] = kept;
  }
}

// Grid [blocks of kPrepareThreads / lanes of a head, B].
template <class T, class Cache>
DOVETAIL_KERNEL(kPrepareThreads)
attention_prepare(const DOVETAIL_GRID_CONSTANT AttentionArguments p) {
  ptx::wait_for_previous_kernel();
  ptx::let_next_kernel_start();
  const int64_t thread = int64_t{ptx::block_index().x} * kPrepareThreads + ptx::thread_index().x;
  const int64_t threads = int64_t{ptx::grid_size().x} * kPrepareThreads;
  if (p.mode == AttentionMode::kTreeDecode) {
    settle_tree_mask(p, ptx::block_index().y * threads + thread, ptx::grid_size().y * threads);
  }
  const int lanes = lanes_of_head(p.head_size);
  const Lane lane = lane_of(p, static_cast<int32_t>(ptx::block_index().y));
  const int64_t item = thread / lanes;  // [token, part, head]
  const auto token = static_cast<int32_t>(item / (2 * p.kv_heads));
  const auto head = static_cast<int32_t>(item % (2 * p.kv_heads));
  const auto first = static_cast<int32_t>(thread % lanes) * 8;
  const int32_t position = token < p.tokens ? position_of(p, lane, token) : -1;
  const bool exists = position >= 0 && first < p.head_size;
  Chunk x = ready_chunk<T>(p, lane, token, p.q_heads + head, position, first, exists, lanes);
  if (!exists) return;
  const int part = head / p.kv_heads;
  scale_for_cache<Cache>(x, p, part);
  store_chunk<Cache>(
      p.cache, cache_row(p, lane.index, part, head % p.kv_heads, lane.history + token) + first, x);
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
