// SPDX-License-Identifier: Apache-2.0
// The pass before attention. A warp takes one head of one new token:
//
//   Q head  RMSNorm, RoPE -> workspace, in the order of the packed rows
//   K head  RMSNorm, RoPE -> cache slot history + token, rounded to the cache type
//   V head  -> cache slot, rounded to the cache type
//
// Heads of padding tokens write nothing to the cache; their Q and output rows become zero. On the
// side the kernel clears the arrival counters of the split keys and folds padding and window into
// the tree mask, so that attention itself asks one bit per key.
//
// A lane of the warp holds one chunk of 8 elements. RoPE pairs elements R/2 apart, for any even R,
// so the row passes through shared memory once.
#pragma once

#include "cuda/attention_element.cuh"
#include "cuda/attention_range.cuh"
#include "cuda/attention_tile.h"

namespace dovetail::cuda {

inline constexpr int kPrepareWarps = 8;
inline constexpr int kPrepareThreads = kPrepareWarps * ptx::kWarpSize;
inline constexpr int kMaxHeadSize = 256;

// x / sqrt(mean(x^2) + eps) * weight over the D elements that the warp holds.
template <class T>
DOVETAIL_DEVICE void normalize(Chunk& x, const AttentionArguments& p, const void* weight,
                               bool active, int32_t first) {
  float squares = 0.0f;
  DOVETAIL_UNROLL
  for (float v : x.value) squares += v * v;
  if (!active) squares = 0.0f;
  DOVETAIL_UNROLL
  for (uint32_t bit = 16; bit > 0; bit /= 2) squares += ptx::shuffle_xor(squares, bit);
  const float mean = squares / static_cast<float>(p.head_size) + p.norm_eps;
  const float estimate = ptx::reciprocal_sqrt_fast(mean);
  const float factor = estimate * (1.5f - 0.5f * mean * estimate * estimate);  // one Newton step
  if (!active) return;
  const Chunk w = load_chunk<T>(weight, first);
  DOVETAIL_UNROLL
  for (int i = 0; i < 8; ++i) x.value[i] *= factor * w.value[i];
}

// `row` [D] is the warp's shared memory; cos_sin holds R/2 cosines, then R/2 sines.
DOVETAIL_DEVICE void rotate(Chunk& x, float* row, const float* cos_sin, int32_t rotary, bool active,
                            int32_t first) {
  if (active) {
    DOVETAIL_UNROLL
    for (int i = 0; i < 8; ++i) row[first + i] = x.value[i];
  }
  ptx::sync_warp();
  const int32_t half = rotary / 2;
  DOVETAIL_UNROLL
  for (int i = 0; i < 8; ++i) {
    const int32_t at = first + i;
    if (active && at < half) {
      x.value[i] = x.value[i] * cos_sin[at] - row[at + half] * cos_sin[half + at];
    } else if (active && at < rotary) {
      x.value[i] = x.value[i] * cos_sin[at - half] + row[at - half] * cos_sin[at];
    }
  }
}

DOVETAIL_DEVICE void clear_arrivals(const AttentionArguments& p, int64_t thread, int64_t threads) {
  const int64_t count = int64_t{p.batch} * p.kv_heads * p.row_blocks;
  for (int64_t i = thread; p.splits > 1 && i < count; i += threads) p.arrivals[i] = 0;
}

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

// Grid [blocks of kPrepareWarps heads, B].
template <class T, class Cache>
DOVETAIL_KERNEL(kPrepareThreads)
attention_prepare(const DOVETAIL_GRID_CONSTANT AttentionArguments p) {
  DOVETAIL_SHARED(float[kPrepareWarps][kMaxHeadSize], rows);
  ptx::let_next_kernel_start();
  const int64_t thread =
      (int64_t{ptx::block_index().y} * ptx::grid_size().x + ptx::block_index().x) *
          kPrepareThreads +
      ptx::thread_index().x;
  const int64_t threads = int64_t{ptx::grid_size().y} * ptx::grid_size().x * kPrepareThreads;
  clear_arrivals(p, thread, threads);
  if (p.mode == AttentionMode::kTreeDecode) settle_tree_mask(p, thread, threads);

  const int32_t heads = p.q_heads + 2 * p.kv_heads;
  const int64_t item = int64_t{ptx::block_index().x} * kPrepareWarps + ptx::warp_index();
  if (item >= int64_t{p.tokens} * heads) return;
  const auto token = static_cast<int32_t>(item / heads);
  const auto head = static_cast<int32_t>(item % heads);
  const Lane lane = lane_of(p, static_cast<int32_t>(ptx::block_index().y));
  const int32_t position = position_of(p, lane, token);
  const int64_t token_row = int64_t{lane.index} * p.tokens + token;
  const auto first = static_cast<int32_t>(ptx::lane_index()) * 8;
  const bool active = first < p.head_size;
  const bool is_query = head < p.q_heads;
  const int64_t query_row =
      ((int64_t{lane.index} * p.kv_heads + head / p.group) * p.tokens + token) * p.group +
      head % p.group;
  if (position < 0) {
    if (is_query && active) {
      store_chunk<T>(p.query, query_row * p.head_size + first, Chunk{});
      store_chunk<T>(p.output, (token_row * p.q_heads + head) * p.head_size + first, Chunk{});
    }
    return;
  }
  Chunk x{};
  if (active) x = load_chunk<T>(p.qkv, (token_row * heads + head) * p.head_size + first);
  const bool is_value = head >= p.q_heads + p.kv_heads;
  if (!is_value) {
    const void* weight = is_query ? p.q_norm_weight : p.k_norm_weight;
    if (weight != nullptr) normalize<T>(x, p, weight, active, first);
    const int64_t table = p.shared_rope ? 0 : lane.index;
    rotate(x, rows[ptx::warp_index()], p.rope + (table * p.rope_rows + position) * p.rotary,
           p.rotary, active, first);
  }
  if (!active) return;
  if (is_query) {
    constexpr bool kPermuted = sizeof(Cache) == 1;
    store_query<T, kPermuted>(p.query, query_row * p.head_size, first, x);
    return;
  }
  const int part = is_value ? 1 : 0;
  const int32_t kv_head = head - p.q_heads - part * p.kv_heads;
  const int64_t to = cache_row(p, lane.index, part, kv_head, lane.history + token) + first;
  if constexpr (sizeof(Cache) == 1) {
    const float factor = 1.0f / p.kv_scales[part];
    DOVETAIL_UNROLL
    for (float& v : x.value) v *= factor;
  }
  store_chunk<Cache>(p.cache, to, x);
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
