// SPDX-License-Identifier: Apache-2.0
// Prompts and trees through wgmma (sm_90a): the same rows, masks and softmax as attention_kernel, for
// head sizes 64 and 128 and a cache of the activation type.
//
//   producer warpgroup    copies keys and values into the stages (cp.async: slots that hold nothing
//                         arrive as zeros, which a tensor copy cannot do)
//   consumer warpgroups   64 rows each. While the scores of stage i + 1 become weights, the sums of
//                         stage i are multiplied. Two groups fill each other's gaps; making them
//                         take turns by barriers was 1% slower (H100, 8k tokens, 32/8/128).
//
// A tile with splits also serves trees and row blocks too few to fill the GPU: each block leaves its
// split's sums to attention_fold, and begins with the old keys before the pass before it is done.
//
// Named barriers, one meaning each: full (a stage, for one consumer group), empty (a stage, from all
// of them), own (a consumer group), asked (queries are on their way, keys may follow). Registers
// move from the producer to the consumers.
#pragma once

#include "cuda/attention_fold.cuh"
#include "cuda/ptx/wgmma.cuh"

namespace dovetail::cuda {

template <class Activation, int Index>
struct WgmmaShape {
  using T = Activation;
  using Cache = Activation;
  static constexpr AttentionWgmmaTile kTile = kAttentionWgmmaTiles[Index];
  static constexpr bool kE4m3 = false;
  static constexpr int kHeadSize = kTile.head_size, kSteps = kHeadSize / 16, kRowTiles = 1;
  static constexpr int kGroups = kTile.warpgroups, kRows = kTile.rows(), kThreads = kTile.threads();
  static constexpr int kKeys = kTile.keys, kKeyTiles = kKeys / 8, kStages = kTile.stages;
  static constexpr int kPanels = kHeadSize / 64, kLine = 128;  // bytes of a line of a panel
  static constexpr int kQueryPanel = kRows * kLine, kKeyPanel = kKeys * kLine;
  static constexpr int kHalfStage = kPanels * kKeyPanel;  // keys; values follow
  static constexpr bool kHoldQuery = false;

  static constexpr uint32_t full(int stage, int group) {
    return static_cast<uint32_t>(1 + stage * kGroups + group);
  }
  static constexpr uint32_t empty(int stage) {
    return static_cast<uint32_t>(1 + kStages * kGroups + stage);
  }
  static constexpr uint32_t own(int group) {
    return static_cast<uint32_t>(1 + kStages * (kGroups + 1) + group);
  }
  static constexpr uint32_t kAsked = 1 + kStages * (kGroups + 1) + kGroups;
  static_assert(kAsked < 16, "named barriers");
  // With more the consumers wait for ever for their registers: 48 + 2 * 232 of 3 * 168 (H100).
  static_assert(kTile.producer_registers + kGroups * kTile.consumer_registers <=
                (kGroups + 1) * kTile.launch_registers());
};

// Offset of 16-byte chunk `chunk` of line `line` in panels of `panel` bytes.
DOVETAIL_DEVICE constexpr int panel_offset(int line, int chunk, int panel) {
  return chunk / 8 * panel + line * 128 + (chunk % 8 ^ line % 8) * 16;
}

// The warpgroup's 64 query rows, normed and rotated; rows that do not exist: zero. All are asked for
// at once, and before the keys are: behind them each would wait for megabytes.
template <class S>
DOVETAIL_DEVICE void prepare_group_rows(std::byte* queries, const AttentionArguments& p,
                                        const Lane& lane, const RowBlock& block, int32_t kv_head,
                                        int32_t group) {
  using T = typename S::T;
  constexpr int kLanes = S::kHeadSize / 16, kAtOnce = 128 / kLanes, kTurns = 64 / kAtOnce;
  const auto thread = static_cast<int32_t>(ptx::thread_index().x) % 128;
  const ChunkPair at = chunk_pair(p, thread % kLanes);
  RawPair raw[kTurns];
  bool exists[kTurns];
  DOVETAIL_UNROLL
  for (int i = 0; i < kTurns; ++i) {
    const int32_t wanted = block.row_begin + group * 64 + i * kAtOnce + thread / kLanes;
    const int32_t packed = wanted < block.row_end ? wanted : block.row_end - 1;
    const int32_t token = token_of_row(p, packed);
    const int32_t head = kv_head * p.group + packed - token * p.group;
    const int32_t position = S::kTile.trees() ? position_of(p, lane, token) : lane.history + token;
    exists[i] = wanted == packed && position >= 0;
    raw[i] = load_pair<T>(p, head_row(p, lane, token, head), at,
                          cos_sin_of(p, lane, position < 0 ? 0 : position));
  }
  ptx::barrier_arrive(S::kAsked, S::kThreads);
  DOVETAIL_UNROLL
  for (int i = 0; i < kTurns; ++i) {
    const int32_t row = group * 64 + i * kAtOnce + thread / kLanes;
    Chunk x[2];
    finish_pair<T>(x, raw[i], p, at, p.q_norm_weight, kLanes);
    if (!exists[i]) x[0] = x[1] = {};
    store_chunk<T>(queries + panel_offset(row, at.low / 8, S::kQueryPanel), 0, x[0]);
    store_chunk<T>(queries + panel_offset(row, at.high / 8, S::kQueryPanel), 0, x[1]);
  }
}

// The warpgroup's finished rows, through the shared memory of its queries, 16 bytes a lane.
template <class S>
DOVETAIL_DEVICE void put_group_rows(std::byte* queries, const WarpState<S>& state,
                                    const RowSink& sink, int32_t group) {
  using T = typename S::T;
  constexpr int kLanes = S::kHeadSize / 8, kAtOnce = 128 / kLanes;
  const auto lane = static_cast<int32_t>(ptx::lane_index());
  const auto thread = static_cast<int32_t>(ptx::thread_index().x) % 128;
  DOVETAIL_UNROLL
  for (int half = 0; half < 2; ++half) {
    const float factor = finishing_factor(sink, state.total[0][half]);
    const int32_t row = group * 64 + thread / 32 * 16 + half * 8 + lane / 4;
    DOVETAIL_UNROLL
    for (int n = 0; n < S::kHeadSize / 8; ++n) {
      const float(&sum)[4] = state.sums[0][n];
      *reinterpret_cast<uint32_t*>(queries + panel_offset(row, n, S::kQueryPanel) + lane % 4 * 4) =
          factor == 0.0f ? 0 : ptx::pack2<T>(sum[2 * half] * factor, sum[2 * half + 1] * factor);
    }
  }
  ptx::barrier_sync(S::own(group), 128);
  DOVETAIL_UNROLL
  for (int i = 0; i < 64 / kAtOnce; ++i) {
    const int32_t row = group * 64 + i * kAtOnce + thread / kLanes, chunk = thread % kLanes;
    if (row >= sink.rows) break;
    *reinterpret_cast<ptx::Vec4*>(static_cast<T*>(sink.output) + sink.output_index(row) +
                                  chunk * 8) =
        *reinterpret_cast<const ptx::Vec4*>(queries + panel_offset(row, chunk, S::kQueryPanel));
  }
}

// Slots from `first` on into a stage; slots that hold nothing become zeros.
template <class S>
DOVETAIL_DEVICE void load_panels(std::byte* stage, const KeySource& source,
                                 const AttentionArguments& p, const Lane& lane, int32_t first) {
  constexpr int kChunks = S::kHeadSize / 8, kAtOnce = 128 / kChunks;
  const auto thread = static_cast<int32_t>(ptx::thread_index().x) % 128;
  const int32_t line = thread / kChunks, chunk = thread % kChunks;
  const int64_t from = (int64_t{first + line} * kChunks + chunk) * 16;
  std::byte* to = stage + panel_offset(line, chunk, S::kKeyPanel);
  static_assert(kAtOnce % 8 == 0);  // so that a step keeps the place of a chunk
  if (first + S::kKeys <= (S::kTile.trees() ? source.plain_end : source.end)) {
    DOVETAIL_UNROLL
    for (int i = 0; i < S::kKeys / kAtOnce; ++i) {
      ptx::copy_async_16(to + i * kAtOnce * 128, source.keys + from + i * 128 * 16);
    }
    DOVETAIL_UNROLL
    for (int i = 0; i < S::kKeys / kAtOnce; ++i) {
      ptx::copy_async_16(to + S::kHalfStage + i * kAtOnce * 128,
                         source.values + from + i * 128 * 16);
    }
    return;
  }
  DOVETAIL_NO_UNROLL
  for (int i = 0; i < S::kKeys / kAtOnce; ++i) {
    const int32_t slot = first + line + i * kAtOnce;
    const bool exists = S::kTile.trees() ? holds(source, p, lane, slot) : slot < source.end;
    const int64_t at = exists ? from + i * 128 * 16 : 0;
    ptx::copy_async_16(to + i * kAtOnce * 128, source.keys + at, exists ? 16 : 0);
    ptx::copy_async_16(to + S::kHalfStage + i * kAtOnce * 128, source.values + at, exists ? 16 : 0);
  }
}

template <class S>
DOVETAIL_DEVICE void produce(std::byte* stages, const AttentionArguments& p, const Lane& lane,
                             const RowBlock& block, int32_t kv_head, int32_t tiles) {
  constexpr int kBehind = S::kStages - 3;  // hand-overs behind loads: consumers hold two stages
  const KeySource source = key_source(p, lane, kv_head, block.end, sizeof(typename S::T));
  const auto load = [&](int32_t tile) {
    if (tile < tiles) {
      load_panels<S>(stages + tile % S::kStages * 2 * S::kHalfStage, source, p, lane,
                     block.begin + tile * S::kKeys);
    }
    ptx::copy_async_commit();
  };
  const auto hand_over = [&](int32_t tile) {
    if (tile >= tiles) return;
    ptx::fence_shared_for_wgmma();
    for (int group = 0; group < S::kGroups; ++group) {
      ptx::barrier_arrive(S::full(tile % S::kStages, group), 256);
    }
  };
  int32_t tile = 0;
  if constexpr (kBehind == 0) {  // the first stages are asked for at once
    DOVETAIL_UNROLL
    for (; tile < S::kStages; ++tile) load(tile);
    ptx::copy_async_wait<2>();
    hand_over(0);
    ptx::copy_async_wait<1>();
    hand_over(1);
    ptx::copy_async_wait<0>();
    hand_over(2);
  }
  for (; tile < tiles + kBehind; ++tile) {
    if (tile >= S::kStages && tile < tiles) {
      ptx::barrier_sync(S::empty(tile % S::kStages), S::kThreads);
    }
    load(tile);
    if (tile < kBehind) continue;
    ptx::copy_async_wait<kBehind>();
    hand_over(tile - kBehind);
  }
}

// The A fragments of the weights: two accumulators of 8 keys are 16 keys.
template <class S>
using Weights = uint32_t[S::kKeyTiles / 2][4];

template <class S>
DOVETAIL_DEVICE void pack_weights(Weights<S>& weights, const Scores<S>& scores) {
  DOVETAIL_UNROLL
  for (int n = 0; n < S::kKeyTiles; n += 2) {
    DOVETAIL_UNROLL
    for (int i = 0; i < 4; ++i) {
      const float(&pair)[4] = scores[0][n + i / 2];
      weights[n / 2][i] = ptx::pack2<typename S::T>(pair[i % 2 * 2], pair[i % 2 * 2 + 1]);
    }
  }
}

template <class S>
DOVETAIL_DEVICE void consume(std::byte* queries, const std::byte* stages, const RowView* views,
                             const AttentionArguments& p, const Lane& lane, const RowBlock& block,
                             const RowSink& sink, int32_t tiles, int32_t group) {
  using T = typename S::T;
  const ScoreRule rule = score_rule(p);
  const int32_t warp_row = static_cast<int32_t>(ptx::warp_index()) * 16;
  WarpState<S> state;
  Scores<S> scores;
  Weights<S> weights;
  float factor[1][2];
  DOVETAIL_UNROLL
  for (auto& sum : state.sums[0]) {
    DOVETAIL_UNROLL
    for (float& v : sum) v = 0.0f;
  }
  DOVETAIL_UNROLL
  for (int half = 0; half < 2; ++half) {
    state.top[0][half] = minus_infinity();
    state.total[0][half] = 0.0f;
  }
  const auto query = ptx::shared_matrix(queries + group * 64 * S::kLine);
  const auto stage_of = [&](int32_t tile) {
    return stages + tile % S::kStages * (2 * S::kHalfStage);
  };
  const auto multiply_keys_of = [&](int32_t tile) {
    ptx::barrier_sync(S::full(tile % S::kStages, group), 256);
    const auto keys = ptx::shared_matrix(stage_of(tile));
    ptx::fence_wgmma();
    DOVETAIL_UNROLL
    for (int step = 0; step < S::kSteps; ++step) {
      ptx::wgmma<T, S::kKeys>(scores[0], query.advanced(step / 4 * S::kQueryPanel + step % 4 * 32),
                              keys.advanced(step / 4 * S::kKeyPanel + step % 4 * 32), step > 0);
    }
    ptx::commit_wgmma();
  };
  const auto multiply_values_of = [&](int32_t tile) {
    const auto values = ptx::shared_matrix_by_k(stage_of(tile) + S::kHalfStage, S::kKeyPanel);
    DOVETAIL_UNROLL
    for (int step = 0; step < S::kKeys / 16; ++step) {
      ptx::wgmma<T, S::kHeadSize>(state.sums[0], weights[step], values.advanced(step * 2048));
    }
    ptx::commit_wgmma();
  };
  const auto weigh_tile = [&](int32_t tile) {
    if (rule.cap > 0.0f) cap_scores<S>(scores, rule);
    const int32_t first = block.begin + tile * S::kKeys;
    if (first < block.all_begin || first + S::kKeys > block.all_end) {
      mask_scores<S, S::kTile.trees()>(scores, views + warp_row, p, lane.history, first);
    }
    weigh<S>(scores, state, rule.unit, factor);
  };
  const auto free_stage_of = [&](int32_t tile) {
    if (tile + S::kStages < tiles) ptx::barrier_arrive(S::empty(tile % S::kStages), S::kThreads);
  };

  // (One loop from tile 0 on, its first turn without values, makes ptxas wait after every wgmma.)
  multiply_keys_of(0);
  ptx::wait_wgmma<0>(scores[0]);
  weigh_tile(0);
  pack_weights<S>(weights, scores);
  for (int32_t tile = 1; tile < tiles; ++tile) {
    multiply_keys_of(tile);
    multiply_values_of(tile - 1);
    ptx::wait_wgmma<1>(scores[0]);
    weigh_tile(tile);
    ptx::wait_wgmma<0>(state.sums[0]);
    free_stage_of(tile - 1);
    rescale<S>(state, factor);
    pack_weights<S>(weights, scores);
  }
  ptx::fence_wgmma();
  multiply_values_of(tiles - 1);
  ptx::wait_wgmma<0>(state.sums[0]);
  settle<S>(state, views + warp_row, rule.unit);
  if (S::kTile.splits && sink.tops != nullptr) {
    ptx::wait_for_previous_kernel();  // the workspace is written from here on
    put_rows<S>(state, sink, warp_row);
  } else {
    put_group_rows<S>(queries, state, sink, group);
  }
}

// Grid [row blocks * splits, Hk, B] as of place_of.
template <class T, int Index>
DOVETAIL_KERNEL(kAttentionWgmmaTiles[Index].threads(), kAttentionWgmmaTiles[Index].resident)
attention_wgmma(const DOVETAIL_GRID_CONSTANT AttentionArguments p) {
  using S = WgmmaShape<T, Index>;
  DOVETAIL_SHARED(RowView[S::kRows], views);
  auto* start = ptx::shared_memory<std::byte>();
  std::byte* queries = start + (1024 - reinterpret_cast<uintptr_t>(start) % 1024) % 1024;
  std::byte* stages = queries + S::kPanels * S::kQueryPanel;
  const auto group = static_cast<int32_t>(ptx::warp_index()) / 4;
  constexpr AttentionWgmmaTile kTile = S::kTile;
  const Place place = place_of<!kTile.splits>(p, kTile);
  const auto& [kv_head, row_block, part, lane, whole, split] = place;
  if (part == 0) zero_padding<T>(p, lane, kv_head, row_block * S::kRows, S::kRows);
  const auto wait = [] {
    ptx::wait_for_previous_kernel();
    ptx::let_next_kernel_start();
  };
  if (part >= split.count || split.last == 0) {
    wait();
    return;
  }
  RowBlock block = whole;
  block.begin += split.first * S::kKeys;
  const int32_t tiles = split.last - split.first;
  if (group == S::kGroups) {
    ptx::give_up_registers<S::kTile.producer_registers>();
    ptx::barrier_sync(S::kAsked, S::kThreads);
    // The pass before writes the new tokens' slots; what came before it is done, but for the copy
    // of a separate past.
    const bool old =
        S::kTile.splits && p.past == nullptr && block.begin + tiles * S::kKeys <= lane.history;
    if (!old) wait();
    produce<S>(stages, p, lane, block, kv_head, tiles);
    if (old) wait();
  } else {
    ptx::take_registers<S::kTile.consumer_registers>();
    prepare_group_rows<S>(queries, p, lane, block, kv_head, group);
    const int32_t thread = static_cast<int32_t>(ptx::thread_index().x) % 128;
    if (thread < 64) {
      const int32_t row = group * 64 + thread, token = token_of_row(p, block.row_begin + row);
      views[row] = {bounds_of(p, lane, token), lane.index * p.tokens + token};
    }
    ptx::fence_shared_for_wgmma();
    ptx::barrier_sync(S::own(group), 128);
    RowSink sink = row_sink(p, lane, block, kv_head);
    if (split.count > 1) {
      const int64_t item = (int64_t{lane.index} * p.kv_heads + kv_head) * p.row_blocks + row_block;
      sink.leave_in(p, (item * p.splits + part) * S::kRows);
    }
    consume<S>(queries, stages, views, p, lane, block, sink, tiles, group);
  }
}

}  // namespace dovetail::cuda
