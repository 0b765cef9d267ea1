// SPDX-License-Identifier: Apache-2.0
// Who sees what: the extent of a lane, the keys of a row, of a block's rows and of a split. All
// lengths are read on the device, so a captured graph may be replayed with others. A lane whose
// lengths do not fit the capacity counts as empty: nothing is written for it but zero output.
#pragma once

#include "cuda/attention_arguments.h"
#include "cuda/attention_tile.h"
#include "cuda/ptx.cuh"
#include "ops/attention_lane.h"

namespace dovetail::cuda {

struct Lane {
  int32_t index, history, fresh;
};

// What memory says about a lane; asked for early where the answer is waited for.
struct LaneLengths {
  int32_t context, start;
};
DOVETAIL_DEVICE LaneLengths lengths_of(const AttentionArguments& p, int32_t index) {
  const bool starts = p.mode != AttentionMode::kPrefill && p.start_index != nullptr;
  return {p.context_lengths[index], starts ? p.start_index[index] : 0};
}

// The same before the kernel before this one is done, which may write them: good for what to ask for.
DOVETAIL_DEVICE LaneLengths guessed_lengths(const AttentionArguments& p, int32_t index) {
  const bool starts = p.mode != AttentionMode::kPrefill && p.start_index != nullptr;
  return {ptx::guess(p.context_lengths + index), starts ? ptx::guess(p.start_index + index) : 0};
}

DOVETAIL_DEVICE Lane lane_of(const AttentionArguments& p, int32_t index,
                             const LaneLengths& lengths) {
  const LaneExtent extent = lane_extent(p.mode, p.tokens, lengths.context, lengths.start);
  if (!extent.fits(p.capacity)) return {index, 0, 0};
  return {index, static_cast<int32_t>(extent.history), static_cast<int32_t>(extent.new_tokens)};
}

DOVETAIL_DEVICE Lane lane_of(const AttentionArguments& p, int32_t index) {
  return lane_of(p, index, lengths_of(p, index));
}

// RoPE position of a token; -1: padding.
DOVETAIL_DEVICE int32_t position_of(const AttentionArguments& p, const Lane& lane, int32_t token) {
  if (token >= lane.fresh) return -1;
  if (p.mode != AttentionMode::kTreeDecode) return lane.history + token;
  const int32_t position = p.position_ids[int64_t{lane.index} * p.tokens + token];
  return position >= 0 && position < p.rope_rows ? position : -1;
}

// Slots [low, high) outside the tree that a token sees; within the tree its mask decides. A padding
// token sees nothing: high is kNoKeys.
struct KeyBounds {
  int32_t low, high;

  static constexpr int32_t kNoKeys = -1;
  DOVETAIL_DEVICE bool padding() const { return high == kNoKeys; }
};

DOVETAIL_DEVICE int32_t window_begin(const AttentionArguments& p, int32_t position) {
  return p.window < 0 || position < p.window ? 0 : position - p.window + 1;
}

DOVETAIL_DEVICE KeyBounds bounds_of(const AttentionArguments& p, const Lane& lane, int32_t token) {
  const int32_t position = position_of(p, lane, token);
  if (position < 0) return {0, KeyBounds::kNoKeys};
  const bool tree = p.mode == AttentionMode::kTreeDecode;
  return {window_begin(p, position), tree ? lane.history : position + 1};
}

// Element offset of a cache row; part 0: K, 1: V.
DOVETAIL_DEVICE int64_t cache_row(const AttentionArguments& p, int32_t lane, int part, int32_t head,
                                  int32_t slot) {
  return (((int64_t{lane} * 2 + part) * p.kv_heads + head) * p.capacity + slot) * p.head_size;
}

// The token of a packed row. (Divisions cost a decode step a tenth of a microsecond each.)
DOVETAIL_DEVICE int32_t token_of_row(const AttentionArguments& p, int32_t packed) {
  return p.group == 1 ? packed : p.tokens == 1 ? 0 : packed / p.group;
}

// A block's rows [row_begin, row_end) and the keys that some of them see; [all_begin, all_end) are
// the slots that all of them see, for which no mask is needed.
struct RowBlock {
  int32_t row_begin, row_end;
  int32_t begin, end, all_begin, all_end;
};

DOVETAIL_DEVICE RowBlock row_block_of(const AttentionArguments& p, const Lane& lane,
                                      int32_t row_begin, int32_t rows) {
  RowBlock block{row_begin, lane.fresh * p.group, 0, 0, 0, 0};
  if (block.row_end > row_begin + rows) block.row_end = row_begin + rows;
  if (block.row_end <= row_begin) return block;
  const int32_t first = token_of_row(p, row_begin), last = token_of_row(p, block.row_end - 1);
  if (p.mode != AttentionMode::kTreeDecode) {
    block.begin = window_begin(p, lane.history + first);
    block.end = lane.history + last + 1;
    block.all_begin = window_begin(p, lane.history + last);
    block.all_end = lane.history + first + 1;
    return block;
  }
  block.end = lane.history + lane.fresh;
  block.all_end = lane.history;
  if (p.window < 0) return block;
  int32_t lowest = lane.history, highest = 0;
  for (int32_t token = first + static_cast<int32_t>(ptx::lane_index()); token <= last;
       token += ptx::kWarpSize) {
    const KeyBounds bounds = bounds_of(p, lane, token);
    if (bounds.padding()) continue;
    lowest = bounds.low < lowest ? bounds.low : lowest;
    highest = bounds.low > highest ? bounds.low : highest;
  }
  DOVETAIL_UNROLL
  for (uint32_t bit = 16; bit > 0; bit /= 2) {
    const int32_t low = ptx::shuffle_xor(lowest, bit), high = ptx::shuffle_xor(highest, bit);
    lowest = low < lowest ? low : lowest;
    highest = high > highest ? high : highest;
  }
  block.begin = lowest;
  block.all_begin = highest;
  return block;
}

// Splits of a row block in this call, and the stages [first, last) of one of them.
struct Split {
  int32_t count, first, last;
};

// Splits that `tiles` stages of keys are worth.
DOVETAIL_DEVICE int32_t split_count(const AttentionArguments& p, int32_t tiles) {
  int32_t count = p.splits == 1 ? 1 : tiles / p.least_tiles;
  if (count > kFoldBatch) count = count / 4 > kFoldBatch ? count / 4 : kFoldBatch;
  return count < 1 ? 1 : count > p.splits ? p.splits : count;
}

// Clusters that share the tiles of a lane in a call of one token. A second one costs another fold,
// which pays when each block has four tiles (H100, 8k keys, 14/2/64: 5.3 us with one cluster of 16
// blocks, 6.1 with three; 32k: 11.3 and 9.7).
DOVETAIL_DEVICE int32_t cluster_count(const AttentionArguments& p, int32_t tiles) {
  if (p.cluster_shift == 0) return split_count(p, tiles);
  const int32_t all = p.splits >> p.cluster_shift, shift = p.cluster_shift + 2;
  const int32_t worth = tiles >> (shift < 4 ? 4 : shift);
  return worth < 1 ? 1 : worth > all ? all : worth;
}

DOVETAIL_DEVICE Split split_of(const AttentionArguments& p, const RowBlock& block, int32_t keys,
                               int32_t index) {
  const int32_t tiles = (block.end - block.begin + keys - 1) / keys;
  const int32_t count = split_count(p, tiles);
  if (count == 1) return {1, 0, tiles};
  // The first `longer` splits get one stage more.
  const int32_t each = tiles / count, longer = tiles - each * count;
  const int32_t first = index * each + (index < longer ? index : longer);
  return {count, first, first + each + (index < longer ? 1 : 0)};
}

// Which rows and keys a block of a grid [row blocks * splits, Hk, B] has: within x the split runs
// fastest, and the last row block, which sees the most keys, comes first. With heads_first the grid
// is [Hk, row blocks, B].
struct Place {
  int32_t kv_head, row_block, part;
  Lane lane;
  RowBlock block;
  Split split;
};

inline ptx::Index3 grid_of(const AttentionArguments& p) {
  const auto rows = static_cast<uint32_t>(p.row_blocks), heads = static_cast<uint32_t>(p.kv_heads);
  const auto lanes = static_cast<uint32_t>(p.batch);
  if (p.heads_first) return {heads, rows, lanes};
  return {rows * static_cast<uint32_t>(p.splits), heads, lanes};
}

template <bool MayBeHeadsFirst = false, class Tile>
DOVETAIL_DEVICE Place place_of(const AttentionArguments& p, const Tile& t) {
  const bool heads_first = MayBeHeadsFirst && p.heads_first;
  const ptx::Index3 at = ptx::block_index();
  const auto x = static_cast<int32_t>(heads_first ? at.y : at.x);
  const int32_t row_block = p.row_blocks == 1 ? 0 : p.row_blocks - 1 - x / p.splits;
  const int32_t part = x - (p.row_blocks - 1 - row_block) * p.splits;
  const Lane lane = lane_of(p, static_cast<int32_t>(at.z));
  const RowBlock block = row_block_of(p, lane, row_block * t.rows(), t.rows());
  return {static_cast<int32_t>(heads_first ? at.x : at.y),
          row_block,
          part,
          lane,
          block,
          split_of(p, block, t.keys, part)};
}

// Bits [from, from + 32) of a tree mask row; bits outside the row are zero.
DOVETAIL_DEVICE uint32_t mask_bits(const uint32_t* words, int32_t count, int32_t from) {
  const int32_t word = from >> 5, shift = from & 31;
  const uint32_t low = word >= 0 && word < count ? words[word] : 0;
  if (shift == 0) return low;
  const uint32_t high = word + 1 >= 0 && word + 1 < count ? words[word + 1] : 0;
  return low >> shift | high << (32 - shift);
}

}  // namespace dovetail::cuda
