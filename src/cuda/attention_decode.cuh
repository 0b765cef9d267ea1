// SPDX-License-Identifier: Apache-2.0
// One new token a lane, the whole call in one kernel: the token's K and V go to the cache, its
// queries attend. A block takes the query heads of one KV head (16 rows of the tensor cores) and
// every splits-th tile of keys; its warps share the keys of a tile. The splits of a cluster fold
// their sums in each other's shared memory (attention_decode_fold.cuh).
//
// What such a call costs beyond reading the keys is latency and instructions of a single warp per
// scheduler, so this kernel has nothing in it that another mode needs:
//   - queries and the first tile of keys are asked for together with the lane's length. Which tile
//     is a split's first does not depend on it, and slots behind the length are memory all the same
//   - all rows see the same keys, so only the first and the last tile have a mask: scores of other
//     slots become -inf, and their values, which may be anything, zeros
//   - the new token's K and V are put into the last tile there, and into the cache
#pragma once

#include "cuda/attention_decode_fold.cuh"

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

// A warp's keys of a tile, or their values, into its rows of a stage: each warp reads what it will
// use itself, so that no barrier of the block is needed. Slots beyond the capacity and columns beyond
// the head become zeros.
template <class S>
struct DecodeKeys {
  const std::byte *keys, *values;  // the lane's chunk of the warp's first slot in tile 0
  std::byte* rows;                 // the warp's of stage 0
  int64_t capacity;
  int32_t row_bytes, warp_key;
  bool whole_rows;

  static constexpr int kChunks = S::kCacheChunks, kCopies = S::kWarpKeys * kChunks;
  static constexpr int kTurns = (kCopies + ptx::kWarpSize - 1) / ptx::kWarpSize;

  DOVETAIL_DEVICE std::byte* rows_of(int stage, int part) const {
    return rows + stage * S::kStageBytes + part * (S::kStageBytes / 2);
  }

  DOVETAIL_DEVICE void load(int stage, int part, int32_t tile) const {
    const auto lane = static_cast<int>(ptx::lane_index());
    const int32_t first = tile * S::kTile.keys + warp_key;
    std::byte* to = rows_of(stage, part);
    const std::byte* from =
        (part == 0 ? keys : values) + int64_t{tile} * (S::kTile.keys * row_bytes);
    if (whole_rows && first + S::kWarpKeys <= capacity) {
      // Turn i begins some whole rows further on; the swizzle is linear in them.
      constexpr int kRows = 32 / kChunks;
      const int own = swizzled_chunk(lane / kChunks, lane % kChunks, kChunks);
      to += lane / kChunks * kChunks * 16;
      const auto copy = [&](int i) {
        const int chunk = own ^ swizzled_chunk(i * kRows, 0, kChunks);
        ptx::copy_async_16_ahead(to + i * 512 + chunk * 16, from + i * 512);
      };
      if constexpr (S::kHeadSize > 128) {  // registers are short
        DOVETAIL_NO_UNROLL
        for (int i = 0; i < kTurns; ++i) copy(i);
      } else {
        DOVETAIL_UNROLL
        for (int i = 0; i < kTurns; ++i) copy(i);
      }
      return;
    }
    from -= lane * 16;
    DOVETAIL_NO_UNROLL
    for (int i = lane; i < kCopies; i += ptx::kWarpSize) {
      const int key = i / kChunks, chunk = i % kChunks;
      const bool exists = first + key < capacity && chunk * 16 < row_bytes;
      ptx::copy_async_16_ahead(to + tile_offset(key, chunk, kChunks),
                               exists ? from + key * row_bytes + chunk * 16 : keys,
                               exists ? 16 : 0);
    }
  }
};

// K and V of the new token, as the cache holds them.
template <class S>
struct alignas(16) FreshRows {
  typename S::Cache part[2][S::kHeadSize];
};

// Row `item` of a KV head's new token, two chunks a lane: queries of the group, then K and V.
template <class S>
struct TokenRow {
  using T = typename S::T;
  int32_t item, part;  // part: 0 K, 1 V; less: a query
  ChunkPair at;
  const T* from;
  RawPair raw;

  static constexpr int kLanes = lanes_of_pairs(S::kHeadSize), kAtOnce = S::kThreads / kLanes;

  DOVETAIL_DEVICE void find(const AttentionArguments& p, int32_t lane, int32_t kv_head,
                            int32_t base) {
    const auto thread = static_cast<int32_t>(ptx::thread_index().x);
    const int32_t own = thread % kLanes;
    item = base + thread / kLanes;
    part = item - p.group;
    at = part == 1 ? ChunkPair{own * 16, own * 16 + 8, false} : chunk_pair(p, own);
    const int32_t head =
        part < 0 ? kv_head * p.group + item : p.q_heads + part * p.kv_heads + kv_head;
    from = static_cast<const T*>(p.qkv) + head_row(p, {lane, 0, 0}, 0, head) + at.low;
  }

  DOVETAIL_DEVICE void ask(const AttentionArguments& p) {
    raw = {};
    if (part >= 2) return;
    if (at.low < p.head_size) raw.low = ptx::load_constant_16(from);
    if (at.high < p.head_size) raw.high = ptx::load_constant_16(from + (at.high - at.low));
  }

  DOVETAIL_DEVICE void put(std::byte* queries, FreshRows<S>& fresh, const AttentionArguments& p) {
    Chunk x[2];
    finish_pair<T>(x, raw, p, at,
                   part < 0    ? p.q_norm_weight
                   : part == 0 ? p.k_norm_weight
                               : nullptr,
                   kLanes);
    if (part >= 2) return;
    DOVETAIL_UNROLL
    for (int i = 0; i < 2; ++i) {
      const int32_t first = i == 0 ? at.low : at.high;
      if (first >= S::kHeadSize) continue;
      if (part < 0) {
        put_query<S>(queries, item, first, x[i]);
      } else {
        scale_for_cache<typename S::Cache>(x[i], p, part);
        store_chunk<typename S::Cache>(fresh.part[part], first, x[i]);
      }
    }
  }
};

// Among the warp's keys of a tile, from slot `first` on: values of slots outside [begin, last] become
// zeros, and slot `last`, the new token's, gets its K and V, as does the cache.
template <class S>
DOVETAIL_DEVICE void mend_keys(int stage, const FreshRows<S>& fresh, const DecodeKeys<S>& source,
                               int32_t tile, int32_t begin, int32_t last) {
  constexpr int kChunks = S::kCacheChunks;
  const auto lane = static_cast<int>(ptx::lane_index());
  const int32_t first = tile * S::kTile.keys + source.warp_key;
  DOVETAIL_NO_UNROLL
  for (int i = lane; i < S::kWarpKeys * kChunks; i += ptx::kWarpSize) {
    const int32_t slot = first + i / kChunks;
    if (slot >= begin && slot <= last) continue;
    *reinterpret_cast<ptx::Vec4*>(source.rows_of(stage, 1) +
                                  tile_offset(i / kChunks, i % kChunks, kChunks)) = {};
  }
  if (last < first || last - first >= S::kWarpKeys) return;
  DOVETAIL_NO_UNROLL
  for (int i = lane; i < 2 * kChunks; i += ptx::kWarpSize) {
    const int part = i / kChunks, chunk = i % kChunks;
    if (chunk * 16 >= source.row_bytes) continue;
    const auto row = reinterpret_cast<const ptx::Vec4*>(fresh.part)[i];
    *reinterpret_cast<ptx::Vec4*>(source.rows_of(stage, part) +
                                  tile_offset(last - first, chunk, kChunks)) = row;
    const std::byte* slot = (part == 0 ? source.keys : source.values) - lane * 16 +
                            int64_t{last - source.warp_key} * source.row_bytes + chunk * 16;
    *reinterpret_cast<ptx::Vec4*>(const_cast<std::byte*>(slot)) = row;
  }
}

// Scores of the warp's keys outside [low, last] become -inf.
template <class S>
DOVETAIL_DEVICE void mask_outside(Scores<S>& scores, int32_t low, int32_t last) {
  const int32_t column = static_cast<int32_t>(ptx::lane_index()) % 4 * 2;
  DOVETAIL_UNROLL
  for (int n = 0; n < S::kKeyTiles; ++n) {
    DOVETAIL_UNROLL
    for (int i = 0; i < 4; ++i) {
      const int32_t key = n * 8 + column + i % 2;
      if (key < low || key > last) scores[0][n][i] = minus_infinity();
    }
  }
}

// Grid [splits, Hk, B], clusters of 2^cluster_shift along x.
template <int Index, class T, class Cache>
DOVETAIL_KERNEL(kAttentionTiles[Index].threads(), kAttentionTiles[Index].resident_blocks())
attention_decode(const DOVETAIL_GRID_CONSTANT AttentionArguments p) {
  using S = AttentionShape<Index, T, Cache>;
  constexpr AttentionTile kTile = S::kTile;
  static_assert(kTile.rows() == 16);
  DOVETAIL_SHARED(uint32_t, arrived);
  DOVETAIL_SHARED(uint64_t, mailbox);
  DOVETAIL_SHARED(FreshRows<S>, fresh);
  auto* queries = ptx::shared_memory<std::byte>();
  std::byte* stages = queries + query_bytes(kTile);
  auto* box = reinterpret_cast<Part*>(stages + S::kStages * S::kStageBytes);
  const auto part = static_cast<int32_t>(ptx::block_index().x);
  const auto kv_head = static_cast<int32_t>(ptx::block_index().y);
  const auto lane_index = static_cast<int32_t>(ptx::block_index().z);
  const auto thread = static_cast<int32_t>(ptx::thread_index().x);
  if (p.cluster_shift > 0) {
    if (thread == 0) ptx::open_mailbox(&mailbox);
    ptx::cluster_arrive_relaxed();
  }
  ask_for_inputs<T>(p);
  const int32_t row_bytes = p.head_size * static_cast<int32_t>(sizeof(Cache));
  const int32_t warp_key = static_cast<int32_t>(ptx::warp_index()) * S::kWarpKeys;
  DecodeKeys<S> source{
      .keys = static_cast<const std::byte*>(p.cache) +
              (cache_row(p, lane_index, 0, kv_head, warp_key) * int64_t{sizeof(Cache)} +
               ptx::lane_index() * 16),
      .values = nullptr,
      .rows = stages + warp_key * S::kCacheChunks * 16,
      .capacity = p.capacity,
      .row_bytes = row_bytes,
      .warp_key = warp_key,
      .whole_rows = row_bytes == S::kCacheChunks * 16 && 32 % S::kCacheChunks == 0};
  source.values = source.keys + p.kv_heads * p.capacity * row_bytes;
  TokenRow<S> row;
  row.find(p, lane_index, kv_head, 0);
  // Rows behind the group, which the tensor cores multiply too.
  for (int32_t i = p.group * S::kQueryChunks + thread; i < 16 * S::kQueryChunks; i += S::kThreads) {
    *reinterpret_cast<ptx::Vec4*>(queries + i * 16) = {};
  }
  // A guess: the lengths may be written by the kernel before.
  const int32_t guess = lane_of(p, lane_index, guessed_lengths(p, lane_index)).history;
  const int32_t position = guess < p.rope_rows ? guess : 0;
  const float* angles = cos_sin_of(p, {lane_index, 0, 0}, position) + row.at.low;
  const bool guesses =
      p.window < 0 && part < (p.cluster_shift > 0 ? 1 << p.cluster_shift : kFoldBatch);
  auto* output = static_cast<T*>(p.output) +
                 (int64_t{lane_index} * p.q_heads + kv_head * p.group) * p.head_size;
  ptx::have_now(output);
  ptx::have_now(source.keys), ptx::have_now(source.values), ptx::have_now(row.from);
  ptx::have_now(angles);
  ptx::wait_for_previous_kernel();
  ptx::let_next_kernel_start();

  const LaneLengths lengths = lengths_of(p, lane_index);
  row.ask(p);
  load_angles(row.raw, p, row.at, angles);
  if (guesses) source.load(0, 0, part);
  ptx::copy_async_commit();
  if (guesses) source.load(0, 1, part);
  ptx::copy_async_commit();

  const Lane lane = lane_of(p, lane_index, lengths);
  const int32_t rank = part & ((1 << p.cluster_shift) - 1);
  const int32_t begin = window_begin(p, lane.history), first_tile = begin / kTile.keys;
  const int32_t end_tile = lane.history / kTile.keys + 1, tiles = end_tile - first_tile;
  const int32_t clusters = cluster_count(p, tiles), splits = clusters << p.cluster_shift;
  if (lane.fresh == 0 || part >= splits || part - rank >= tiles) {
    ptx::copy_async_wait<0>();
    if (lane.fresh == 0 && part == 0) zero_padding<T>(p, lane, kv_head, 0, p.group);
    return;
  }
  const bool alone = tiles == 1 || splits == 1;
  const DecodePlace at{.part = part,
                       .rank = rank,
                       .shift = p.cluster_shift,
                       .tiles = tiles,
                       .clusters = clusters,
                       .item = int64_t{lane_index} * p.kv_heads + kv_head};
  const DecodeFold<S> fold{.p = p,
                           .at = at,
                           .output = output,
                           .sink = row_sink(p, lane, {0, p.group, 0, 0, 0, 0}, kv_head),
                           .box = box,
                           .mailbox = &mailbox};
  if (p.cluster_shift > 0 && thread == 0 && !alone) {
    ptx::expect_mail(&mailbox, fold.own_pairs() * static_cast<uint32_t>(at.active()) * 16);
  }
  // A counter for each place in a cluster, where there are several clusters.
  const bool counts = clusters > 1 && thread == 0;
  uint64_t* arrivals = p.arrivals + (at.item << at.shift) + rank;
  uint64_t found = 0;
  if (counts) found = ptx::look_at_arrivals(arrivals);
  if (part < tiles) {
    const float* cos_sin = cos_sin_of(p, lane, lane.history);
    int32_t tile = first_tile + part, ahead = tile;
    int stage = 0, stage_ahead = 0;
    const auto step_ahead = [&] {
      ahead += splits;
      stage_ahead = stage_ahead + 1 == S::kStages ? 0 : stage_ahead + 1;
    };
    const auto load_next = [&] {
      if (ahead < end_tile) {
        source.load(stage_ahead, 0, ahead);
        ptx::copy_async_commit();
        source.load(stage_ahead, 1, ahead);
        ptx::copy_async_commit();
        step_ahead();
      } else {
        ptx::copy_async_commit();
        ptx::copy_async_commit();
      }
    };
    if (guesses) step_ahead();
    if (lane.history != position) load_angles(row.raw, p, row.at, cos_sin + row.at.low);
    DOVETAIL_NO_UNROLL
    for (int i = guesses ? 1 : 0; i < S::kStages - 1; ++i) load_next();
    row.put(queries, fresh, p);
    DOVETAIL_NO_UNROLL
    for (int32_t base = row.kAtOnce; base < p.group + 2; base += row.kAtOnce) {
      row.find(p, lane_index, kv_head, base);
      row.ask(p);
      load_angles(row.raw, p, row.at, cos_sin + row.at.low);
      row.put(queries, fresh, p);
    }
    if (counts) ptx::claim_arrivals(arrivals, found);
    ptx::sync_threads();

    const int halves = p.group > 8 ? 2 : 1;
    const ScoreRule rule = score_rule(p);
    WarpState<S> state;
    begin_rows<S>(state);
    QueryFragments<S> held;
    if constexpr (S::kHoldQuery) {
      DOVETAIL_UNROLL
      for (int step = 0; step < S::kSteps; ++step) {
        query_fragment<S>(held[0][step], queries, 0, step);
      }
    }
    DOVETAIL_NO_UNROLL
    for (; tile < end_tile; tile += splits) {
      // The keys are here, and the warp is done with the stage that is next to fill.
      ptx::copy_async_wait<2 * S::kStages - 3>();
      ptx::sync_warp();
      const int own = stage;
      stage = stage + 1 == S::kStages ? 0 : stage + 1;
      const int32_t first = tile * kTile.keys + warp_key;
      const bool masked = first < begin || tile == end_tile - 1;
      load_next();
      if (masked) {
        ptx::copy_async_wait<2 * S::kStages - 2>();
        ptx::sync_warp();
        mend_keys<S>(own, fresh, source, tile, begin, lane.history);
        ptx::sync_warp();
      }
      Scores<S> scores;
      multiply_keys<S>(scores, held, queries, source.rows_of(own, 0));
      if (rule.cap > 0.0f) cap_scores<S>(scores, rule);
      if (masked) mask_outside<S>(scores, begin - first, lane.history - first);
      float factors[S::kRowTiles][2] = {{1.0f, 1.0f}};
      weigh<S>(scores, state, rule.unit, factors, halves);
      if (ptx::any(factors[0][0] != 1.0f || factors[0][1] != 1.0f)) {
        rescale<S>(state, factors, halves);
      }
      ptx::copy_async_wait<2 * S::kStages - 2>();
      ptx::sync_warp();
      multiply_values<S>(state, scores, source.rows_of(own, 1));
    }
    ptx::copy_async_wait<0>();

    if (p.cluster_shift > 0) ptx::cluster_wait();  // everyone's mailbox is open
    fold_warps<S>(state, p.group, rule.unit, stages,
                  [&](uint32_t pair, const Part& sum) { fold.put(pair, sum, alone); });
  } else {
    if (counts) ptx::claim_arrivals(arrivals, found);
    ptx::copy_async_wait<0>();
    if (p.cluster_shift > 0) ptx::cluster_wait();
  }
  if (!alone) fold.fold(arrived);
}

}  // namespace dovetail::cuda
