// SPDX-License-Identifier: Apache-2.0
// Shared memory of the attention kernel: filling it by cp.async, and reading tensor-core fragments
// from it. The layout is in attention_tile.h.
//
// Slots that hold nothing are never read: keys at or behind `end`, and tree tokens that are
// padding, arrive as zeros. So NaN or garbage in unused cache slots cannot reach a sum, not even as
// 0 * NaN.
#pragma once

#include <cstddef>

#include "cuda/attention_element.cuh"
#include "cuda/attention_range.cuh"

namespace dovetail::cuda {

// Compile-time facts of one instantiation: T activation type, Cache its storage (T or E4m3).
template <int Index, class Activation, class CacheType>
struct AttentionShape {
  using T = Activation;
  using Cache = CacheType;
  static constexpr AttentionTile kTile = kAttentionTiles[Index];
  static constexpr bool kE4m3 = sizeof(Cache) == 1;
  static constexpr int kHeadSize = kTile.head_size;
  static constexpr int kThreads = kTile.threads();
  static constexpr int kRowTiles = kTile.row_tiles;
  static constexpr int kWarpKeys = kTile.warp_keys();
  static constexpr int kKeyTiles = kWarpKeys / 8;     // accumulators of 8 keys
  static constexpr int kSteps = kHeadSize / 16;       // mma along the head
  static constexpr int kQueryChunks = kHeadSize / 8;  // of 16 bytes, per row
  static constexpr int kCacheChunks = kHeadSize * static_cast<int>(sizeof(Cache)) / 16;
  static constexpr int kStages = stages(kTile, sizeof(Cache));
  static constexpr int kStageBytes = stage_bytes(kTile, sizeof(Cache));
  // Query fragments stay in registers while they are at most 32 of them.
  static constexpr bool kHoldQuery = kRowTiles * kSteps <= 8;
  static_assert(kHeadSize % 16 == 0 && kWarpKeys % 16 == 0 && kStages >= 2);
};

// The block's query rows; rows and columns that do not exist become zero.
template <class S>
DOVETAIL_DEVICE void load_query(std::byte* shared, const AttentionArguments& p, int64_t first_row,
                                int32_t rows) {
  using T = typename S::T;
  const auto* from = static_cast<const T*>(p.query) + first_row * p.head_size;
  DOVETAIL_UNROLL
  for (int i = static_cast<int>(ptx::thread_index().x); i < S::kTile.rows() * S::kQueryChunks;
       i += S::kThreads) {
    const int row = i / S::kQueryChunks, chunk = i % S::kQueryChunks;
    const bool exists = row < rows && chunk * 8 < p.head_size;
    ptx::copy_async_16(shared + tile_offset(row, chunk, S::kQueryChunks),
                       from + (exists ? int64_t{row} * p.head_size + chunk * 8 : 0),
                       exists ? 16 : 0);
  }
}

// Where a block's keys and values come from.
struct KeySource {
  const std::byte* keys;  // slot 0 of the KV head
  const std::byte* values;
  int32_t end;         // slots from here on are not read
  int32_t tree_begin;  // from this slot on, position_ids say whether a slot is padding
  const int32_t* position_ids;
  int64_t rope_rows;
  int32_t row_bytes;

  DOVETAIL_DEVICE bool holds(int32_t slot) const {
    if (slot >= end) return false;
    if (slot < tree_begin) return true;
    const int32_t position = position_ids[slot - tree_begin];
    return position >= 0 && position < rope_rows;
  }
};

DOVETAIL_DEVICE KeySource key_source(const AttentionArguments& p, const Lane& lane, int32_t kv_head,
                                     int32_t end, int element_bytes) {
  const auto* cache = static_cast<const std::byte*>(p.cache);
  const bool tree = p.mode == AttentionMode::kTreeDecode;
  return {.keys = cache + cache_row(p, lane.index, 0, kv_head, 0) * element_bytes,
          .values = cache + cache_row(p, lane.index, 1, kv_head, 0) * element_bytes,
          .end = end,
          .tree_begin = tree ? lane.history : end,
          .position_ids = tree ? p.position_ids + int64_t{lane.index} * p.tokens : nullptr,
          .rope_rows = p.rope_rows,
          .row_bytes = p.head_size * element_bytes};
}

// Slots from `first` on into one stage.
template <class S>
DOVETAIL_DEVICE void load_keys(std::byte* stage, const KeySource& source, int32_t first) {
  constexpr int kChunks = S::kCacheChunks;
  constexpr int kValues = S::kStageBytes / 2;
  DOVETAIL_UNROLL
  for (int i = static_cast<int>(ptx::thread_index().x); i < S::kTile.keys * kChunks;
       i += S::kThreads) {
    const int key = i / kChunks, chunk = i % kChunks;
    const bool exists = source.holds(first + key) && chunk * 16 < source.row_bytes;
    const int64_t from = exists ? int64_t{first + key} * source.row_bytes + chunk * 16 : 0;
    const int to = tile_offset(key, chunk, kChunks);
    ptx::copy_async_16(stage + to, source.keys + from, exists ? 16 : 0);
    ptx::copy_async_16(stage + kValues + to, source.values + from, exists ? 16 : 0);
  }
}

// A fragment of 16 query rows at step `step` of the head.
template <class S>
DOVETAIL_DEVICE void query_fragment(uint32_t (&a)[4], const std::byte* query, int row, int step) {
  const auto lane = static_cast<int>(ptx::lane_index());
  ptx::load_matrix<4>(a,
                      query + tile_offset(row + lane % 16, 2 * step + lane / 16, S::kQueryChunks));
}

// B fragments of 16 keys (two accumulators of 8) at step `step`: b[n][2].
template <class S>
DOVETAIL_DEVICE void key_fragments(uint32_t (&b)[2][2], const std::byte* keys, int key, int step) {
  const auto lane = static_cast<int>(ptx::lane_index());
  if constexpr (S::kE4m3) {
    uint32_t r[2];  // bytes 4t .. 4t+3 of keys g and g + 8
    ptx::load_matrix<2>(r, keys + tile_offset(key + lane % 16, step, S::kCacheChunks));
    DOVETAIL_UNROLL
    for (int n = 0; n < 2; ++n) {
      b[n][0] = e4m3_to_pair<typename S::T>(r[n]);
      b[n][1] = e4m3_to_pair<typename S::T>(r[n] >> 16);
    }
  } else {
    uint32_t r[4];
    const int row = key + lane / 16 * 8 + lane % 8;
    ptx::load_matrix<4>(r, keys + tile_offset(row, 2 * step + lane / 8 % 2, S::kCacheChunks));
    b[0][0] = r[0], b[0][1] = r[1];
    b[1][0] = r[2], b[1][1] = r[3];
  }
}

// B fragments of 16 keys by 16 columns of V: b[n][2]. The columns of accumulator n, place j, are
//   16-bit cache  16 * step + 8 n + j
//   E4M3          16 * step + 2 j + n   (a transposed 16-bit element holds two columns)
template <class S>
DOVETAIL_DEVICE void value_fragments(uint32_t (&b)[2][2], const std::byte* values, int key,
                                     int step) {
  const auto lane = static_cast<int>(ptx::lane_index());
  if constexpr (S::kE4m3) {
    uint32_t r[2];  // keys 2t, 2t+1 (+8): {key 2t col 2g, col 2g+1, key 2t+1 col 2g, col 2g+1}
    ptx::load_matrix<2, true>(r, values + tile_offset(key + lane % 16, step, S::kCacheChunks));
    DOVETAIL_UNROLL
    for (int half = 0; half < 2; ++half) {
      b[0][half] = e4m3_to_pair<typename S::T>(ptx::permute_bytes(r[half], 0, 0x4420));
      b[1][half] = e4m3_to_pair<typename S::T>(ptx::permute_bytes(r[half], 0, 0x4431));
    }
  } else {
    uint32_t r[4];
    ptx::load_matrix<4, true>(
        r, values + tile_offset(key + lane % 16, 2 * step + lane / 16, S::kCacheChunks));
    b[0][0] = r[0], b[0][1] = r[1];
    b[1][0] = r[2], b[1][1] = r[3];
  }
}

// The two adjacent output columns that a lane holds in accumulators {2 step, 2 step + 1}, row half
// `half`, as pair `pair` of 2: the first column, and the values.
struct ColumnPair {
  int column;
  float x, y;
};
template <class S>
DOVETAIL_DEVICE ColumnPair column_pair(const float (&sums)[S::kHeadSize / 8][4], int step, int half,
                                       int pair) {
  const auto t = static_cast<int>(ptx::lane_index()) % 4;
  if constexpr (S::kE4m3) {
    return {16 * step + 4 * t + 2 * pair, sums[2 * step][2 * half + pair],
            sums[2 * step + 1][2 * half + pair]};
  } else {
    return {16 * step + 8 * pair + 2 * t, sums[2 * step + pair][2 * half],
            sums[2 * step + pair][2 * half + 1]};
  }
}

}  // namespace dovetail::cuda
