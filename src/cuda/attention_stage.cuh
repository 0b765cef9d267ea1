// SPDX-License-Identifier: Apache-2.0
// Shared memory of the attention kernel: filling it by cp.async, and reading tensor-core fragments
// from it. The layout is in attention_tile.h.
//
// Slots that hold nothing are never read: keys at or behind `end`, and tree tokens that are
// padding, arrive as zeros. So NaN or garbage in unused cache slots cannot reach a sum, not even as
// 0 * NaN.
#pragma once

#include <cstddef>

#include "cuda/attention_head.cuh"

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
  // Query fragments stay in registers while they are at most 32, and of one row tile.
  static constexpr bool kHoldQuery = kRowTiles == 1 && kSteps <= 8;
  static_assert(kHeadSize % 16 == 0 && kWarpKeys % 16 == 0 && kStages >= 2);
};

// Chunk `first` of query row `row` in shared memory. An E4M3 cache wants another order of elements.
template <class S>
DOVETAIL_DEVICE void put_query(std::byte* shared, int row, int first, const Chunk& x) {
  using T = typename S::T;
  if constexpr (!S::kE4m3) {
    store_chunk<T>(shared + tile_offset(row, first / 8, S::kQueryChunks), 0, x);
  } else {
    DOVETAIL_UNROLL
    for (int i = 0; i < 8; i += 2) {
      const int place = e4m3_query_place(first + i);
      *reinterpret_cast<uint32_t*>(shared + tile_offset(row, place / 8, S::kQueryChunks) +
                                   place % 8 * 2) = ptx::pack2<T>(x.value[i], x.value[i + 1]);
    }
  }
}

// Query rows [row_begin, row_end) of the block into shared memory, rows and columns that do not
// exist as zeros.
template <class S>
DOVETAIL_DEVICE void prepare_rows(std::byte* shared, const AttentionArguments& p, const Lane& lane,
                                  const RowBlock& block, int32_t kv_head) {
  using T = typename S::T;
  // Many rows are read several at a time, or each would cost a latency of the memory.
  constexpr int kLanes = lanes_of_head(S::kHeadSize), kGroups = S::kThreads / kLanes;
  constexpr int kTurns = S::kTile.rows() == 16 || S::kHeadSize > 128 ? 1 : 4;
  const auto thread = static_cast<int32_t>(ptx::thread_index().x);
  const int32_t first = thread % kLanes * 8;
  const bool aligned = p.rotary % 16 == 0;
  const int32_t column = first < p.head_size ? first : 0;
  DOVETAIL_NO_UNROLL
  for (int32_t base = 0; base < S::kTile.rows(); base += kTurns * kGroups) {
    RawHead raw[kTurns];
    int32_t token[kTurns], head[kTurns], position[kTurns];
    DOVETAIL_UNROLL
    for (int i = 0; i < kTurns; ++i) {
      const int32_t wanted = block.row_begin + base + i * kGroups + thread / kLanes;
      const int32_t packed = wanted < block.row_end ? wanted : block.row_end - 1;
      token[i] = token_of_row(p, packed);
      head[i] = kv_head * p.group + packed - token[i] * p.group;
      position[i] = position_of(p, lane, token[i]);
      raw[i] = load_head<T>(p, head_row(p, lane, token[i], head[i]), column,
                            cos_sin_of(p, lane, position[i] < 0 ? 0 : position[i]), aligned);
    }
    DOVETAIL_UNROLL
    for (int i = 0; i < kTurns; ++i) {
      const int32_t row = base + i * kGroups + thread / kLanes;
      const bool exists =
          position[i] >= 0 && first < p.head_size && block.row_begin + row < block.row_end;
      Chunk x = finish_head<T>(raw[i], p, first, p.q_norm_weight, aligned, kLanes);
      if (!aligned) {
        x = ready_chunk<T>(p, lane, token[i], head[i], position[i], first, exists, kLanes);
      }
      if (!exists) x = {};
      if (row < S::kTile.rows() && first < S::kHeadSize) put_query<S>(shared, row, first, x);
    }
  }
}

// Where a block's keys and values come from.
struct KeySource {
  const std::byte* keys;  // slot 0 of the KV head
  const std::byte* values;
  int32_t plain_end;  // all slots before hold keys
  int32_t end;        // slots from here on are not read
};

DOVETAIL_DEVICE KeySource key_source(const AttentionArguments& p, const Lane& lane, int32_t kv_head,
                                     int32_t end, int element_bytes) {
  const auto* cache = static_cast<const std::byte*>(p.cache);
  return {.keys = cache + cache_row(p, lane.index, 0, kv_head, 0) * element_bytes,
          .values = cache + cache_row(p, lane.index, 1, kv_head, 0) * element_bytes,
          .plain_end = p.mode == AttentionMode::kTreeDecode ? lane.history : end,
          .end = end};
}

// Slots of tree tokens that are padding hold nothing.
DOVETAIL_DEVICE bool holds(const KeySource& source, const AttentionArguments& p, const Lane& lane,
                           int32_t slot) {
  if (slot >= source.end) return false;
  return slot < source.plain_end || position_of(p, lane, slot - lane.history) >= 0;
}

// Slots from `first` on into one stage. Most stages are full of ordinary slots: two addresses and
// constants. The others ask for each slot.
template <class S>
DOVETAIL_DEVICE void load_keys(std::byte* stage, const KeySource& source,
                               const AttentionArguments& p, const Lane& lane, int32_t first) {
  constexpr int kChunks = S::kCacheChunks, kCopies = S::kTile.keys * kChunks;
  constexpr int kValues = S::kStageBytes / 2;
  const auto thread = static_cast<int>(ptx::thread_index().x);
  const int32_t row_bytes = p.head_size * static_cast<int32_t>(sizeof(typename S::Cache));
  if (first + S::kTile.keys <= source.plain_end && row_bytes == kChunks * 16) {
    const int64_t row = int64_t{first} * (kChunks * 16);
    const auto copy = [&](int i) {
      const int to = tile_offset(i / kChunks, i % kChunks, kChunks);
      ptx::copy_async_16(stage + to, source.keys + row + i * 16);
      ptx::copy_async_16(stage + kValues + to, source.values + row + i * 16);
    };
    if constexpr (S::kHeadSize > 128) {  // registers are short
      DOVETAIL_NO_UNROLL
      for (int i = thread; i < kCopies; i += S::kThreads) copy(i);
    } else {
      DOVETAIL_UNROLL
      for (int i = thread; i < kCopies; i += S::kThreads) copy(i);
    }
    return;
  }
  DOVETAIL_NO_UNROLL
  for (int i = thread; i < kCopies; i += S::kThreads) {
    const int key = i / kChunks, chunk = i % kChunks, slot = first + key;
    const int to = tile_offset(key, chunk, kChunks);
    const bool exists = holds(source, p, lane, slot) && chunk * 16 < row_bytes;
    const int64_t from = exists ? int64_t{slot} * row_bytes + chunk * 16 : 0;
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
