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

// Grid [blocks of kPrepareThreads / lanes of a head, B].
template <class T, class Cache>
DOVETAIL_KERNEL(kPrepareThreads)
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
  const int lanes = lanes_of_head(p.head_size);
  const auto thread = static_cast<uint32_t>(ptx::thread_index().x);
  const uint32_t in_block = lanes == 8 ? thread / 8 : lanes == 16 ? thread / 16 : thread / 32;
  const uint32_t item = ptx::block_index().x * static_cast<uint32_t>(kPrepareThreads / lanes) +
                        in_block;  // [token, part, head]
  const auto token = static_cast<int32_t>(item / static_cast<uint32_t>(2 * p.kv_heads));
  const int32_t head = static_cast<int32_t>(item) - token * 2 * p.kv_heads;
  const auto first = static_cast<int32_t>(thread & static_cast<uint32_t>(lanes - 1)) * 8;
  const int32_t position = token < p.tokens ? position_of(p, lane, token) : -1;
  const bool exists = position >= 0 && first < p.head_size;
  Chunk x = ready_chunk<T>(p, lane, token, p.q_heads + head, position, first, exists, lanes);
  if (!exists) return;
  const int part = head < p.kv_heads ? 0 : 1;
  scale_for_cache<Cache>(x, p, part);
  const int64_t row =
      cache_row(p, lane.index, part, head - part * p.kv_heads, lane.history + token);
  store_chunk<Cache>(p.cache, row + first, x);
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
