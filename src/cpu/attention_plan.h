// SPDX-License-Identifier: Apache-2.0
// How attention is cut into items on a CPU: a pure function of the problem, the thread count and
// the tier's sizes, so that it is tested and printed without running anything.
//
//   row blocks   A KV head's rows (tokens * group) in blocks of up to kMostRows; a prompt without a
//                history in smaller ones when there would be fewer than kItemsPerThread per thread.
//   key splits   Still too few items (few KV heads, small batch): the keys are cut as well, each
//                split leaves a partial result, and a merge pass folds them exactly.
//   blocks       Keys between two softmax updates: K and V blocks as fp32 fit half of a 1 MB L2
//                along with the rows of an item.
#pragma once

#include <cstddef>
#include <cstdint>

#include "cpu/attention_kernels.h"
#include "dovetail/attention.h"
#include "ops/attention_lane.h"

namespace dovetail {

inline constexpr std::int64_t kMostRows = 256;
inline constexpr std::int64_t kItemsPerThread = 4;
inline constexpr std::int64_t kFewestSplitKeys =
    256;  // a split below this costs more than it saves
inline constexpr std::int64_t kPrepareTokens = 16;

struct AttentionWork {
  AttentionBlock block{};
  AttentionScratch scratch{};
  std::int64_t row_blocks = 0;      // per lane and KV head
  std::int64_t key_splits = 1;      // most splits; a lane uses as many as its length deserves
  std::int64_t prepare_blocks = 0;  // per lane
  std::int64_t tasks = 1;           // claim items until none is left
  std::int64_t partial_offset = 0;  // floats; behind the tasks' scratch
  std::int64_t partial_floats = 0;  // one split of one item
  std::size_t workspace_bytes = 0;
};

AttentionWork plan_attention(const AttentionProblem& problem, int threads,
                             const AttentionKernels& kernels);

// The keys that a row block can see, [begin, end) in slots.
struct KeyRange {
  std::int64_t begin, end;
};
KeyRange visible_keys(const AttentionProblem& problem, const LaneExtent& lane,
                      std::int64_t row_begin, std::int64_t row_end);

// Splits of a range in this call, and split `index` of it: whole key blocks, as even as possible.
std::int64_t splits_of(const AttentionWork& work, KeyRange keys);
KeyRange split(const AttentionWork& work, KeyRange keys, std::int64_t splits, std::int64_t index);

}  // namespace dovetail
