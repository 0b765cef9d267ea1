// SPDX-License-Identifier: Apache-2.0
// One new token a lane, the whole call in one kernel: the token's K and V go to the cache, its
// queries attend. A block takes the query heads of one KV head (16 rows of the tensor cores) and
// one split of the keys; its warps share the keys of a stage.
//
// What such a call costs beyond reading the keys is latency and instructions of a single warp per
// scheduler, so this kernel has nothing in it that another mode needs (attention_kernel.cuh with
// everything was 111 KB of code):
//   - queries are asked for before the first keys, behind which they would wait;
//   - all rows see the same keys, so only the last tile has a mask, and it is one comparison;
//   - splits take every `count`-th tile from the last one down, so nothing is divided. Split 0
//     begins with the new token's tile and puts its K and V there itself;
//   - the last split to arrive folds them all, a row a warp.
#pragma once

#include "cuda/attention_fold.cuh"

namespace dovetail::cuda {

// Lengths, queries and the new K and V in L2, before they may be read.
template <class T>
DOVETAIL_DEVICE void ask_for_inputs(const AttentionArguments& p) {
  const auto thread = static_cast<int32_t>(ptx::thread_index().x);
  const auto lane = static_cast<int32_t>(ptx::block_index().z);
  if (thread == 0) {
    ptx::prefetch_to_l2(p.context_lengths + lane);
    if (p.start_index != nullptr) ptx::prefetch_to_l2(p.start_index + lane);
  }
  constexpr int kLine = 128 / static_cast<int>(sizeof(T));
  const int32_t head = static_cast<int32_t>(ptx::block_index().y) * p.group;
  if (thread * kLine < p.group * p.head_size) {
    ptx::prefetch_to_l2(static_cast<const T*>(p.qkv) + head_row(p, {lane, 0, 0}, 0, head) +
                        thread * kLine);
  }
}

// Tile `tile` of the keys that the token sees, into a stage: slots of the past as they are, the new
// token's left out, those behind as zeros.
template <class S>
struct DecodeKeys {
  const std::byte* keys;  // of the first slot that is seen
  const std::byte* values;
  int32_t past, tiles, row_bytes;  // past: slots before the new token's

  static constexpr int kChunks = S::kCacheChunks, kCopies = S::kTile.keys * kChunks;
  static constexpr int kValues = S::kStageBytes / 2;
  // A thread's copies lie a fixed distance apart where they keep their place in the swizzle.
  static constexpr bool kRegular = S::kThreads % (8 * kChunks) == 0;

  DOVETAIL_DEVICE void load_whole(std::byte* stage, int32_t tile) const {
    const auto thread = static_cast<int>(ptx::thread_index().x);
    const int64_t from = (int64_t{tile} * kCopies + thread) * 16;
    const std::byte *key = keys + from, *value = values + from;
    std::byte* own = stage + tile_offset(thread / kChunks, thread % kChunks, kChunks);
    const auto place = [&](int i) {
      return kRegular ? own + i * S::kThreads * 16
                      : stage + tile_offset((thread + i * S::kThreads) / kChunks,
                                            (thread + i * S::kThreads) % kChunks, kChunks);
    };
    constexpr int kTurns = (kCopies + S::kThreads - 1) / S::kThreads;
    DOVETAIL_UNROLL
    for (int i = 0; i < kTurns; ++i) {
      if (kCopies % S::kThreads != 0 && thread + i * S::kThreads >= kCopies) break;
      ptx::copy_async_16(place(i), key + i * S::kThreads * 16);
      ptx::copy_async_16(place(i) + kValues, value + i * S::kThreads * 16);
    }
  }

  DOVETAIL_DEVICE void load_slots(std::byte* stage, int32_t tile) const {
    DOVETAIL_NO_UNROLL
    for (int i = static_cast<int>(ptx::thread_index().x); i < kCopies; i += S::kThreads) {
      const int key = i / kChunks, chunk = i % kChunks, slot = tile * S::kTile.keys + key;
      const bool exists = slot < past && chunk * 16 < row_bytes;
      if (slot == past && chunk * 16 < row_bytes) continue;  // put_new_token
      const int64_t from = exists ? int64_t{slot} * row_bytes + chunk * 16 : 0;
      std::byte* to = stage + tile_offset(key, chunk, kChunks);
      ptx::copy_async_16(to, keys + from, exists ? 16 : 0);
      ptx::copy_async_16(to + kValues, values + from, exists ? 16 : 0);
    }
  }

  DOVETAIL_DEVICE void load(std::byte* stage, int32_t tile) const {
    if (tile + 1 < tiles && row_bytes == kChunks * 16) {
      load_whole(stage, tile);
    } else {
      load_slots(stage, tile);
    }
  }
};

// Chunk `first` of the new token's K (part 0) or V (1): to the cache, and to slot `key` of a stage.
template <class S>
DOVETAIL_DEVICE void put_new_token(std::byte* stage, const AttentionArguments& p, const Lane& lane,
                                   int32_t kv_head, int part, int32_t key, int32_t first, Chunk x) {
  using Cache = typename S::Cache;
  scale_for_cache<Cache>(x, p, part);
  store_chunk<Cache>(p.cache, cache_row(p, lane.index, part, kv_head, lane.history) + first, x);
  constexpr int kPerChunk = 16 / static_cast<int>(sizeof(Cache));
  std::byte* chunk =
      stage + part * (S::kStageBytes / 2) + tile_offset(key, first / kPerChunk, S::kCacheChunks);
  store_chunk<Cache>(chunk, first % kPerChunk, x);
}

// The rows of the KV head's group into shared memory, others as zeros; `with_token` also the new
// token, into slot `key` of `stage`. `meanwhile` runs when the first rows are asked for.
template <class S, class Meanwhile>
DOVETAIL_DEVICE void prepare_token(std::byte* queries, std::byte* stage,
                                   const AttentionArguments& p, const Lane& lane, int32_t kv_head,
                                   bool with_token, int32_t key, const Meanwhile& meanwhile) {
  using T = typename S::T;
  constexpr int kLanes = lanes_of_pairs(S::kHeadSize), kAtOnce = S::kThreads / kLanes;
  const auto thread = static_cast<int32_t>(ptx::thread_index().x);
  const ChunkPair turned = chunk_pair(p, thread % kLanes);
  const int32_t items = p.group + (with_token ? 2 : 0);
  const float* cos_sin = cos_sin_of(p, lane, lane.history);
  DOVETAIL_NO_UNROLL
  for (int32_t base = 0; base < items; base += kAtOnce) {
    const int32_t item = base + thread / kLanes, part = item - p.group;  // of K and V
    const bool exists = item < items;
    ChunkPair at = turned;
    if (part == 1) at = {thread % kLanes * 16, thread % kLanes * 16 + 8, false};
    const int32_t head =
        part < 0 ? kv_head * p.group + item : p.q_heads + part * p.kv_heads + kv_head;
    RawPair raw{};
    if (exists) raw = load_pair<T>(p, head_row(p, lane, 0, head), at, cos_sin);
    if (base == 0) meanwhile();
    Chunk x[2];
    finish_pair<T>(x, raw, p, at,
                   part < 0    ? p.q_norm_weight
                   : part == 0 ? p.k_norm_weight
                               : nullptr,
                   kLanes);
    if (!exists) continue;
    DOVETAIL_UNROLL
    for (int i = 0; i < 2; ++i) {
      const int32_t first = i == 0 ? at.low : at.high;
      if (first >= S::kHeadSize) continue;
      if (part < 0) {
        put_query<S>(queries, item, first, x[i]);
      } else if (first < p.head_size) {
        put_new_token<S>(stage, p, lane, kv_head, part, key, first, x[i]);
      }
    }
  }
  // Chunks that no pair holds, and rows behind the group.
  for (int32_t i = p.group * S::kQueryChunks + thread; i < 16 * S::kQueryChunks; i += S::kThreads) {
    *reinterpret_cast<ptx::Vec4*>(queries + i * 16) = {};
  }
}

// Keys behind the new token's are not seen: their scores become -inf; `last` is its place among the
// warp's keys.
template <class S>
DOVETAIL_DEVICE void mask_behind(Scores<S>& scores, int32_t last) {
  const int32_t column = static_cast<int32_t>(ptx::lane_index()) % 4 * 2;
  DOVETAIL_UNROLL
  for (int n = 0; n < S::kKeyTiles; ++n) {
    DOVETAIL_UNROLL
    for (int i = 0; i < 4; ++i) {
      if (n * 8 + column + i % 2 > last) scores[0][n][i] = minus_infinity();
    }
  }
}

// The warps' parts of the group's rows, folded through `shared`: to the workspace, or finished.
// Pitch D + 8: the eight rows of a fragment then fall on different banks.
template <class S>
DOVETAIL_DEVICE void fold_warps(WarpState<S>& state, const RowSink& sink, float unit,
                                std::byte* shared) {
  constexpr int kParts = S::kTile.key_warps, kRows = 16, kPitch = S::kHeadSize + 8;
  constexpr int kQuads = S::kHeadSize / 4;
  static_assert(kParts * kRows * (kPitch + 2) * 4 <= S::kStages * S::kStageBytes);
  auto* sums = reinterpret_cast<float*>(shared);  // [parts, rows, pitch]
  float* tops = sums + kParts * kRows * kPitch;   // [parts, rows, 2]
  const auto lane = static_cast<int32_t>(ptx::lane_index());
  const auto thread = static_cast<int32_t>(ptx::thread_index().x);
  const auto part = static_cast<int32_t>(ptx::warp_index());
  ptx::sync_threads();
  DOVETAIL_UNROLL
  for (int half = 0; half < 2; ++half) {
    if (half * 8 >= sink.rows) break;
    float total = state.total[0][half];
    total += ptx::shuffle_xor(total, 1);
    total += ptx::shuffle_xor(total, 2);
    const int32_t row = part * kRows + half * 8 + lane / 4;
    if (lane % 4 == 0) {
      *reinterpret_cast<ptx::Float2*>(tops + 2 * row) = {state.top[0][half] * unit, total};
    }
    DOVETAIL_UNROLL
    for (int i = 0; i < 2 * S::kSteps; ++i) {
      const ColumnPair pair = column_pair<S>(state.sums[0], i / 2, half, i % 2);
      *reinterpret_cast<ptx::Float2*>(sums + row * kPitch + pair.column) = {pair.x, pair.y};
    }
  }
  ptx::sync_threads();
  DOVETAIL_NO_UNROLL
  for (int32_t i = thread; i < sink.rows * kQuads; i += S::kThreads) {
    const int32_t row = i / kQuads, column = i % kQuads * 4;
    ptx::Float2 parts[kParts];
    float top = minus_infinity(), total = 0.0f;
    DOVETAIL_UNROLL
    for (int k = 0; k < kParts; ++k) {
      parts[k] = *reinterpret_cast<const ptx::Float2*>(tops + 2 * (k * kRows + row));
      top = ptx::larger(top, parts[k].x);
    }
    ptx::Float4 sum{};
    DOVETAIL_UNROLL
    for (int k = 0; k < kParts; ++k) {
      const float factor = fold_factor(parts[k].x, top);
      const auto& from =
          *reinterpret_cast<const ptx::Float4*>(sums + (k * kRows + row) * kPitch + column);
      total += factor * parts[k].y;
      sum = {sum.x + factor * from.x, sum.y + factor * from.y, sum.z + factor * from.z,
             sum.w + factor * from.w};
    }
    if (column == 0) put_top(sink, row, top, total);
    const float factor = finishing_factor(sink, total);
    put_pair<typename S::T>(sink, row, column, factor, sum.x, sum.y);
    put_pair<typename S::T>(sink, row, column + 2, factor, sum.z, sum.w);
  }
}

// Grid [splits, Hk, B].
template <int Index, class T, class Cache>
DOVETAIL_KERNEL(kAttentionTiles[Index].threads(), kAttentionTiles[Index].resident_blocks())
attention_decode(const DOVETAIL_GRID_CONSTANT AttentionArguments p) {
  using S = AttentionShape<Index, T, Cache>;
  constexpr AttentionTile kTile = S::kTile;
  static_assert(kTile.rows() == 16);
  DOVETAIL_SHARED(uint32_t, arrived);
  auto* queries = ptx::shared_memory<std::byte>();
  std::byte* stages = queries + query_bytes(kTile);
  const auto part = static_cast<int32_t>(ptx::block_index().x);
  const auto kv_head = static_cast<int32_t>(ptx::block_index().y);
  ask_for_inputs<T>(p);
  ptx::wait_for_previous_kernel();
  ptx::let_next_kernel_start();

  const Lane lane = lane_of(p, static_cast<int32_t>(ptx::block_index().z));
  if (lane.fresh == 0) {
    if (part == 0) zero_padding<T>(p, lane, kv_head, 0, p.group);
    return;
  }
  const int32_t begin = window_begin(p, lane.history), past = lane.history - begin;
  const int32_t tiles = past / kTile.keys + 1;
  const int32_t count = split_count(p, tiles);
  if (part >= count) return;

  const int32_t row_bytes = p.head_size * static_cast<int32_t>(sizeof(Cache));
  const auto* cache = static_cast<const std::byte*>(p.cache);
  constexpr int64_t kBytes = sizeof(Cache);
  const DecodeKeys<S> source{.keys = cache + cache_row(p, lane.index, 0, kv_head, begin) * kBytes,
                             .values = cache + cache_row(p, lane.index, 1, kv_head, begin) * kBytes,
                             .past = past,
                             .tiles = tiles,
                             .row_bytes = row_bytes};
  int32_t tile = tiles - 1 - part, ahead = tile;
  int stage = 0, stage_ahead = 0;
  const auto load_next = [&] {
    if (ahead >= 0) source.load(stages + stage_ahead * S::kStageBytes, ahead);
    ptx::copy_async_commit();
    ahead -= count;
    stage_ahead = stage_ahead + 1 == S::kStages ? 0 : stage_ahead + 1;
  };
  const int64_t item = int64_t{lane.index} * p.kv_heads + kv_head;
  const bool counts = count > 1 && ptx::thread_index().x == 0;
  uint64_t* arrivals = p.arrivals + item;
  uint64_t found = 0;
  prepare_token<S>(queries, stages, p, lane, kv_head, part == 0, past % kTile.keys, [&] {
    if (counts) found = ptx::look_at_arrivals(arrivals);
    DOVETAIL_NO_UNROLL
    for (int i = 0; i < S::kStages - 1; ++i) load_next();
  });
  if (counts) ptx::claim_arrivals(arrivals, found);

  const int32_t warp_key = static_cast<int32_t>(ptx::warp_index()) * S::kWarpKeys;
  const ScoreRule rule = score_rule(p);
  WarpState<S> state;
  begin_rows<S>(state);
  QueryFragments<S> held;
  DOVETAIL_NO_UNROLL
  for (; tile >= 0; tile -= count) {
    ptx::copy_async_wait<S::kStages - 2>();
    ptx::sync_threads();  // the stage is here, and everyone is done with the next to fill
    if constexpr (S::kHoldQuery) {
      if (tile == tiles - 1 - part) {
        DOVETAIL_UNROLL
        for (int step = 0; step < S::kSteps; ++step) {
          query_fragment<S>(held[0][step], queries, 0, step);
        }
      }
    }
    load_next();
    const std::byte* keys = stages + stage * S::kStageBytes + warp_key * S::kCacheChunks * 16;
    stage = stage + 1 == S::kStages ? 0 : stage + 1;
    Scores<S> scores;
    multiply_keys<S>(scores, held, queries, keys);
    if (rule.cap > 0.0f) cap_scores<S>(scores, rule);
    if (tile == tiles - 1) mask_behind<S>(scores, past % kTile.keys - warp_key);
    float factors[S::kRowTiles][2];
    weigh<S>(scores, state, rule.unit, factors);
    rescale<S>(state, factors);
    multiply_values<S>(state, scores, keys + S::kStageBytes / 2);
  }
  ptx::copy_async_wait<0>();

  const RowBlock rows{0, p.group, 0, 0, 0, 0};
  RowSink sink = row_sink(p, lane, rows, kv_head);
  sink.one_token = true;
  const int64_t first_row = item * p.splits * 16;
  if (count > 1) sink.leave_in(p, first_row + part * 16);
  fold_warps<S>(state, sink, rule.unit, stages);
  if (count == 1) return;
  ptx::sync_threads();
  if (ptx::thread_index().x == 0) arrived = ptx::arrive(arrivals);
  ptx::sync_threads();
  if (arrived != static_cast<uint32_t>(count) - 1) return;
  if (ptx::thread_index().x == 0) ptx::leave_arrivals(arrivals);
  sink.tops = sink.sums = nullptr;
  DOVETAIL_NO_UNROLL
  for (auto row = static_cast<int32_t>(ptx::warp_index()); row < p.group;
       row += S::kThreads / ptx::kWarpSize) {
    fold_splits<S>(p, sink, p.partial_tops + 2 * first_row,
                   p.partial_sums + first_row * p.head_size, count, row);
  }
}

}  // namespace dovetail::cuda
