// SPDX-License-Identifier: Apache-2.0
// Folds the splits of row blocks of more than 16 rows, which would take one block too long, in a
// kernel of its own: a row a warp. The parts are those of attention_output.cuh.
#pragma once

#include "cuda/attention_output.cuh"
#include "cuda/attention_plan.h"
#include "cuda/launch.cuh"

namespace dovetail::cuda {

// The splits of one row, by a warp; `first_*` are the workspace of split 0. Where 16 lanes hold a
// row, two splits at once. Tops and the first batch of sums are asked for together: what the fold
// costs is one latency of the L2 cache, and not three.
template <class S>
DOVETAIL_DEVICE void fold_splits(const AttentionArguments& p, const RowSink& sink,
                                 const float* first_tops, const float* first_sums, int32_t splits,
                                 int32_t row) {
  constexpr int kRows = S::kTile.rows(), kQuads = (S::kHeadSize + 127) / 128;
  constexpr int kWays = S::kHeadSize <= 64 ? 2 : 1, kLanes = ptx::kWarpSize / kWays;
  constexpr int kBatch = 16 / kQuads, kStep = kBatch * kWays, kHeld = 2;
  static_assert(ptx::kWarpSize % kStep == 0);
  if (row >= sink.rows) return;
  const auto lane = static_cast<int32_t>(ptx::lane_index());
  const int32_t own_column = lane % kLanes * 4, own_way = lane / kLanes;
  const int32_t stride = kRows * p.head_size;
  const auto* tops = reinterpret_cast<const ptx::Float2*>(first_tops) + row;
  const float* sums = first_sums + row * p.head_size;

  const auto part_of = [&](int32_t split) {
    return split < splits ? tops[split * kRows] : ptx::Float2{minus_infinity(), 0.0f};
  };
  // Beyond the last split and column something is read again: its factor is 0, or nobody writes it.
  ptx::Float4 v[kBatch][kQuads];
  const auto load = [&](int32_t first) {
    DOVETAIL_UNROLL
    for (int i = 0; i < kBatch; ++i) {
      const int32_t split = first + i * kWays + own_way;
      const float* from = sums + (split < splits ? split : splits - 1) * stride;
      DOVETAIL_UNROLL
      for (int q = 0; q < kQuads; ++q) {
        const int32_t column = q * 128 + own_column;
        v[i][q] = *reinterpret_cast<const ptx::Float4*>(
            from + (column < p.head_size ? column : p.head_size - 4));
      }
    }
  };
  ptx::Float2 held[kHeld];
  DOVETAIL_UNROLL
  for (int i = 0; i < kHeld; ++i) held[i] = part_of(i * ptx::kWarpSize + lane);
  load(0);

  float top = ptx::larger(held[0].x, held[1].x);
  for (int32_t base = kHeld * ptx::kWarpSize; base < splits; base += ptx::kWarpSize) {
    top = ptx::larger(top, part_of(base + lane).x);
  }
  DOVETAIL_UNROLL
  for (uint32_t bit = 16; bit > 0; bit /= 2) top = ptx::larger(top, ptx::shuffle_xor(top, bit));

  float total = 0.0f, own_factor = 0.0f;
  ptx::Float4 folded[kQuads] = {};
  for (int32_t first = 0; first < splits; first += kStep) {
    if (first % ptx::kWarpSize == 0) {
      const int32_t chunk = first / ptx::kWarpSize;
      const ptx::Float2 part = chunk == 0 ? held[0] : chunk == 1 ? held[1] : part_of(first + lane);
      own_factor = fold_factor(part.x, top);
      total += own_factor * part.y;
    }
    DOVETAIL_UNROLL
    for (int i = 0; i < kBatch; ++i) {
      const int32_t from_lane = first + i * kWays + own_way;
      const float factor =
          ptx::shuffle(own_factor, static_cast<uint32_t>(from_lane) % ptx::kWarpSize);
      DOVETAIL_UNROLL
      for (int q = 0; q < kQuads; ++q) {
        ptx::Float4& to = folded[q];
        const ptx::Float4& from = v[i][q];
        to = {to.x + factor * from.x, to.y + factor * from.y, to.z + factor * from.z,
              to.w + factor * from.w};
      }
    }
    if (first + kStep < splits) load(first + kStep);
  }
  DOVETAIL_UNROLL
  for (uint32_t bit = 16; bit > 0; bit /= 2) total += ptx::shuffle_xor(total, bit);
  if constexpr (kWays == 2) {
    for (float* sum : {&folded[0].x, &folded[0].y, &folded[0].z, &folded[0].w}) {
      *sum += ptx::shuffle_xor(*sum, kLanes);
    }
    if (own_way != 0) return;
  }
  const float factor = finishing_factor(sink, total);
  DOVETAIL_UNROLL
  for (int q = 0; q < kQuads; ++q) {
    const int column = q * 128 + own_column;
    put_pair<typename S::T>(sink, row, column, factor, folded[q].x, folded[q].y);
    put_pair<typename S::T>(sink, row, column + 2, factor, folded[q].z, folded[q].w);
  }
}

// Of the kernel with shape S. Grid [row blocks * rows / kFoldWarps, Hk, B].
inline constexpr int kFoldWarps = 4;
template <class S>
DOVETAIL_KERNEL(kFoldWarps* ptx::kWarpSize)
attention_fold(const DOVETAIL_GRID_CONSTANT AttentionArguments p) {
  constexpr int kRows = S::kTile.rows(), kBlocks = kRows / kFoldWarps;
  // Only the parts come from the kernel before; what it was given is older.
  const auto x = static_cast<int32_t>(ptx::block_index().x);
  const auto kv_head = static_cast<int32_t>(ptx::block_index().y);
  const int32_t row_block = x / kBlocks;
  const Lane lane = lane_of(p, static_cast<int32_t>(ptx::block_index().z));
  const RowBlock block = row_block_of(p, lane, row_block * kRows, kRows);
  const Split split = split_of(p, block, S::kTile.keys, 0);
  const int64_t item = (int64_t{lane.index} * p.kv_heads + kv_head) * p.row_blocks + row_block;
  const int64_t first_row = item * p.splits * kRows;
  const RowSink sink = row_sink(p, lane, block, kv_head);
  ptx::wait_for_previous_kernel();
  ptx::let_next_kernel_start();
  if (split.count == 1 || block.row_end <= block.row_begin) return;
  fold_splits<S>(p, sink, p.partial_tops + 2 * first_row, p.partial_sums + first_row * p.head_size,
                 split.count, x % kBlocks * kFoldWarps + static_cast<int32_t>(ptx::warp_index()));
}

inline Status launch_fold(void (*fold)(AttentionArguments), const AttentionSchedule& s, int rows,
                          const AttentionArguments& arguments, void* stream) {
  const LaunchConfig config{
      .grid = {static_cast<uint32_t>(s.row_blocks) * static_cast<uint32_t>(rows / kFoldWarps),
               static_cast<uint32_t>(arguments.kv_heads), static_cast<uint32_t>(arguments.batch)},
      .block = {kFoldWarps * ptx::kWarpSize},
      .stream = stream,
      .overlap_previous = s.overlap_kernels};
  return launch(fold, config, arguments);
}

}  // namespace dovetail::cuda
