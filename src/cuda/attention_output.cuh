// SPDX-License-Identifier: Apache-2.0
// From a block's sums to the output. Without split keys a row is divided by its total and written.
// With split keys each block leaves {top, total, sums} in the workspace; the block that arrives
// last at the row block's counter (ptx/arrival.cuh) folds them, in the order of the splits, so the
// result does not depend on who was last.
//
//   fold of parts s:  top = max top_s, total = sum 2^(top_s - top) total_s, sums likewise
//   (tops in units of the exponent of 2)
#pragma once

#include "cuda/attention_softmax.cuh"

namespace dovetail::cuda {

// The rows of one block, and where they go.
struct RowSink {
  void* output;
  int64_t token_row;  // first token of the lane, counted over all lanes
  int32_t row_begin, rows, kv_head, group, q_heads, head_size;
  float value_scale;  // of an E4M3 cache
  float* tops;        // [rows, 2] of this split; null: write the output
  float* sums;        // [rows, D]
  bool one_token;

  DOVETAIL_DEVICE int64_t output_index(int32_t row) const {
    const int32_t packed = row_begin + row, token = one_token ? 0 : packed / group;
    return ((token_row + token) * q_heads + kv_head * group + packed - token * group) * head_size;
  }
  // The rows of one split stay in the workspace, from its row `first` on.
  DOVETAIL_DEVICE void leave_in(const AttentionArguments& p, int64_t first) {
    tops = p.partial_tops + 2 * first;
    sums = p.partial_sums + first * head_size;
  }
};

DOVETAIL_DEVICE RowSink row_sink(const AttentionArguments& p, const Lane& lane,
                                 const RowBlock& block, int32_t kv_head) {
  return {.output = p.output,
          .token_row = int64_t{lane.index} * p.tokens,
          .row_begin = block.row_begin,
          .rows = block.row_end - block.row_begin,
          .kv_head = kv_head,
          .group = p.group,
          .q_heads = p.q_heads,
          .head_size = p.head_size,
          .value_scale = p.kv_scales == nullptr ? 1.0f : p.kv_scales[1],
          .tops = nullptr,
          .sums = nullptr,
          .one_token = p.tokens == 1};
}

// What the sums of a row are multiplied by in the end; 0 for a row that saw nothing, which becomes
// zero whatever its sums are.
DOVETAIL_DEVICE float finishing_factor(const RowSink& sink, float total) {
  return total == 0.0f ? 0.0f : sink.value_scale / total;
}

template <class T>
DOVETAIL_DEVICE void put_pair(const RowSink& sink, int32_t row, int column, float factor, float x,
                              float y) {
  if (row >= sink.rows || column >= sink.head_size) return;
  if (sink.tops != nullptr) {
    *reinterpret_cast<ptx::Float2*>(sink.sums + int64_t{row} * sink.head_size + column) = {x, y};
    return;
  }
  auto* to = static_cast<T*>(sink.output) + sink.output_index(row) + column;
  *reinterpret_cast<uint32_t*>(to) = factor == 0.0f ? 0 : ptx::pack2<T>(x * factor, y * factor);
}

DOVETAIL_DEVICE void put_top(const RowSink& sink, int32_t row, float top, float total) {
  if (sink.tops == nullptr || row >= sink.rows) return;
  *reinterpret_cast<ptx::Float2*>(sink.tops + 2 * row) = {top, total};
}

// Totals of the quad's lanes together; tops in exponent units; padding rows are emptied.
template <class S>
DOVETAIL_DEVICE void settle(WarpState<S>& state, const RowView* views, float unit) {
  DOVETAIL_UNROLL
  for (int m = 0; m < S::kRowTiles; ++m) {
    DOVETAIL_UNROLL
    for (int half = 0; half < 2; ++half) {
      float& total = state.total[m][half];
      total += ptx::shuffle_xor(total, 1);
      total += ptx::shuffle_xor(total, 2);
      state.top[m][half] *= unit;
      if (views[m * 16 + half * 8 + static_cast<int32_t>(ptx::lane_index()) / 4].bounds.padding()) {
        total = 0.0f;
        state.top[m][half] = minus_infinity();
      }
    }
  }
}

// Each warp holds whole rows.
template <class S>
DOVETAIL_DEVICE void put_rows(const WarpState<S>& state, const RowSink& sink, int32_t warp_row) {
  const auto lane = static_cast<int32_t>(ptx::lane_index());
  DOVETAIL_UNROLL
  for (int m = 0; m < S::kRowTiles; ++m) {
    DOVETAIL_UNROLL
    for (int half = 0; half < 2; ++half) {
      const int32_t row = warp_row + m * 16 + half * 8 + lane / 4;
      const float total = state.total[m][half];
      const float factor = finishing_factor(sink, total);
      if (lane % 4 == 0) put_top(sink, row, state.top[m][half], total);
      DOVETAIL_UNROLL
      for (int i = 0; i < 2 * S::kSteps; ++i) {
        const ColumnPair pair = column_pair<S>(state.sums[m], i / 2, half, i % 2);
        put_pair<typename S::T>(sink, row, pair.column, factor, pair.x, pair.y);
      }
    }
  }
}

// Factor of a part when folded to `top`; a part that saw nothing has top -inf and factor 0.
DOVETAIL_DEVICE float fold_factor(float part_top, float top) {
  return part_top == minus_infinity() ? 0.0f : ptx::exp2_fast(part_top - top);
}

// Key warps hold parts of the same rows: folded through shared memory, which has no other use any
// more. Pitch D + 8: the eight rows of a fragment then fall on different banks.
template <class S>
DOVETAIL_DEVICE void fold_key_warps(const WarpState<S>& state, const RowSink& sink,
                                    std::byte* shared) {
  constexpr int kParts = S::kTile.key_warps, kRows = S::kTile.rows(), kPitch = S::kHeadSize + 8;
  static_assert(S::kTile.row_warps == 1);
  static_assert(kParts * kRows * (kPitch + 2) * 4 <= S::kStages * S::kStageBytes);
  auto* sums = reinterpret_cast<float*>(shared);  // [parts, rows, pitch]
  float* tops = sums + kParts * kRows * kPitch;   // [parts, rows, 2]
  const auto lane = static_cast<int32_t>(ptx::lane_index());
  const auto part = static_cast<int32_t>(ptx::warp_index());
  ptx::sync_threads();
  DOVETAIL_UNROLL
  for (int m = 0; m < S::kRowTiles; ++m) {
    DOVETAIL_UNROLL
    for (int half = 0; half < 2; ++half) {
      const int32_t row = part * kRows + m * 16 + half * 8 + lane / 4;
      if (lane % 4 == 0) {
        tops[2 * row] = state.top[m][half];
        tops[2 * row + 1] = state.total[m][half];
      }
      DOVETAIL_UNROLL
      for (int i = 0; i < 2 * S::kSteps; ++i) {
        const ColumnPair pair = column_pair<S>(state.sums[m], i / 2, half, i % 2);
        *reinterpret_cast<ptx::Float2*>(sums + row * kPitch + pair.column) = {pair.x, pair.y};
      }
    }
  }
  ptx::sync_threads();
  constexpr int kPairs = S::kHeadSize / 2;
  for (int i = static_cast<int>(ptx::thread_index().x); i < kRows * kPairs; i += S::kThreads) {
    const int row = i / kPairs, column = i % kPairs * 2;
    if (row >= sink.rows) break;
    float top = minus_infinity(), total = 0.0f, x = 0.0f, y = 0.0f;
    DOVETAIL_UNROLL
    for (int k = 0; k < kParts; ++k) top = ptx::larger(top, tops[2 * (k * kRows + row)]);
    DOVETAIL_UNROLL
    for (int k = 0; k < kParts; ++k) {
      const float* at = tops + 2 * (k * kRows + row);
      const float factor = fold_factor(at[0], top);
      const float* sum = sums + (k * kRows + row) * kPitch + column;
      total += factor * at[1];
      x += factor * sum[0];
      y += factor * sum[1];
    }
    if (column == 0) put_top(sink, row, top, total);
    put_pair<typename S::T>(sink, row, column, finishing_factor(sink, total), x, y);
  }
}

// Output rows of padding tokens among `rows` packed rows from `row_begin` on: zero.
template <class T>
DOVETAIL_DEVICE void zero_padding(const AttentionArguments& p, const Lane& lane, int32_t kv_head,
                                  int32_t row_begin, int32_t rows) {
  const int32_t real = lane.fresh * p.group, all = p.tokens * p.group;
  const int32_t from = row_begin > real ? row_begin : real;
  const int32_t to = row_begin + rows < all ? row_begin + rows : all;
  const int32_t chunks = p.head_size / 8;
  for (int32_t i = static_cast<int32_t>(ptx::thread_index().x); i < (to - from) * chunks;
       i += static_cast<int32_t>(ptx::block_size().x)) {
    const int32_t row = from + i / chunks;
    const int64_t token = int64_t{lane.index} * p.tokens + row / p.group;
    store_chunk<T>(
        p.output,
        (token * p.q_heads + kv_head * p.group + row % p.group) * p.head_size + i % chunks * 8,
        Chunk{});
  }
}

}  // namespace dovetail::cuda
