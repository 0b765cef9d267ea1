// SPDX-License-Identifier: Apache-2.0
#include "cpu/attention_plan.h"

#include <algorithm>

#include "layout/rounding.h"

namespace dovetail {
namespace {

// Few rows: K and V stay where they are; the kernel fetches V of a block while it reads K, and K of
// the next one while it reads V. Blocks of one page are best on Zen 4 (8k, 32/8/64, fp16: 32 keys
// take 201 cycles per four keys, 16: 212, 64: 208, 96: 226; fp32 takes 25 % longer with 256 keys).
// Many rows: see the head.
std::int64_t keys_per_block(bool narrow, std::int64_t d, DataType cache_type) {
  if (!narrow) {
    return std::clamp<std::int64_t>(12288 / d / 48 * 48, 48, 192);
  }
  const std::int64_t page = 4096 / (d * static_cast<std::int64_t>(size_of(cache_type)));
  return std::clamp<std::int64_t>(page / 16 * 16, 16, 64);
}

AttentionScratch scratch_of(const AttentionBlock& block, std::int64_t d, std::int64_t lanes) {
  const std::int64_t rows = round_up(block.rows, 2 * lanes);
  AttentionScratch at{};
  std::int64_t next = 0;
  const auto take = [&](std::int64_t floats) {
    const std::int64_t offset = next;
    next += round_up(floats, 16);
    return offset;
  };
  at.query = take(rows * d);
  at.sums = take(rows * d);
  at.scores = take(block.keys * 2 * lanes);
  at.keys = take(block.keys * d);
  at.values = take(block.keys * d);
  at.top = take(rows);
  at.total = take(rows);
  at.row = take(lanes * d);
  at.bounds = take(rows * 2);
  at.floats = next;
  return at;
}

}  // namespace

AttentionWork plan_attention(const AttentionProblem& p, int threads,
                             const AttentionKernels& kernels) {
  const std::int64_t d = p.attributes.head_size;
  const std::int64_t group = p.attributes.num_q_heads / p.attributes.num_kv_heads;
  const std::int64_t rows = p.tokens * group;
  const std::int64_t heads = p.batch * p.attributes.num_kv_heads;
  const std::int64_t enough = kItemsPerThread * threads;
  const std::int64_t panel = 2 * kernels.lanes;
  AttentionWork work;
  work.tasks = threads;
  const bool narrow = rows <= kernels.narrow_rows;
  if (narrow) {
    work.block.rows = std::max<std::int64_t>(rows, 1);
  } else {
    // Row blocks read the keys again: only calls without a history are cut finer than kMostRows.
    const std::int64_t blocks =
        p.mode == AttentionMode::kPrefill
            ? std::clamp<std::int64_t>(divide_up(enough, std::max<std::int64_t>(heads, 1)), 1,
                                       divide_up(rows, panel))
            : 1;
    work.block.rows = std::min(kMostRows, round_up(divide_up(rows, blocks), panel));
  }
  work.block.keys = keys_per_block(narrow, d, p.cache_type);
  work.row_blocks = divide_up(rows, work.block.rows);
  const std::int64_t items = heads * work.row_blocks;
  const std::int64_t most_keys = p.mode == AttentionMode::kPrefill ? p.tokens : p.capacity;
  if (items > 0 && items < enough) {
    work.key_splits =
        std::clamp<std::int64_t>(most_keys / kFewestSplitKeys, 1, divide_up(enough, items));
  }
  work.prepare_blocks = divide_up(p.tokens, kPrepareTokens);
  work.scratch = scratch_of(work.block, d, kernels.lanes);
  work.partial_offset = work.tasks * work.scratch.floats;
  work.partial_floats = round_up(work.block.rows * (d + 2), 16);
  const std::int64_t partials =
      work.key_splits > 1 ? items * work.key_splits * work.partial_floats : 0;
  work.workspace_bytes = static_cast<std::size_t>(work.partial_offset + partials) * sizeof(float);
  return work;
}

KeyRange visible_keys(const AttentionProblem& p, const LaneExtent& lane, std::int64_t row_begin,
                      std::int64_t row_end) {
  if (p.mode == AttentionMode::kTreeDecode) {
    return {0, lane.total()};  // positions are data; the kernel narrows the range by the window
  }
  const std::int64_t group = p.attributes.num_q_heads / p.attributes.num_kv_heads;
  const std::int64_t window = p.attributes.sliding_window_size;
  const std::int64_t first = lane.history + row_begin / group;
  const std::int64_t last = lane.history + (row_end - 1) / group;
  return {window < 0 ? 0 : std::max<std::int64_t>(0, first - window + 1), last + 1};
}

std::int64_t splits_of(const AttentionWork& work, KeyRange keys) {
  return std::clamp<std::int64_t>((keys.end - keys.begin) / kFewestSplitKeys, 1, work.key_splits);
}

KeyRange split(const AttentionWork& work, KeyRange keys, std::int64_t splits, std::int64_t index) {
  const std::int64_t blocks = divide_up(keys.end - keys.begin, work.block.keys);
  const auto edge = [&](std::int64_t i) {
    return std::min(keys.end, keys.begin + blocks * i / splits * work.block.keys);
  };
  return {edge(index), edge(index + 1)};
}

}  // namespace dovetail
