// SPDX-License-Identifier: Apache-2.0
// What a lane does in a call, from the lane's own numbers: the one place where the contract's
// mode-dependent meaning of context_lengths is decided. Host and device share it.
//
//   mode             context length means       history      new tokens
//   prefill          new tokens                 0            length
//   chunked prefill  new tokens                 start        length
//   decode           total, this call included  length - 1   1
//   decode           1 with start > 0           start        1    (last token of a chunked prefill)
//   tree decode      total, padded S included   length - S   S
//   decode, tree     0: the lane is left out    start        0
//
// Slots [0, history) hold the past; new token i goes to slot history + i.
#pragma once

#include <cstdint>

#include "dovetail/attention.h"

#if defined(__CUDACC__)
#define DOVETAIL_HOST_DEVICE __host__ __device__
#else
#define DOVETAIL_HOST_DEVICE
#endif

namespace dovetail {

struct LaneExtent {
  std::int64_t history;     // tokens in the cache before this call
  std::int64_t new_tokens;  // real tokens of this call, 0..S; rows behind them are padding

  DOVETAIL_HOST_DEVICE constexpr std::int64_t total() const { return history + new_tokens; }
  DOVETAIL_HOST_DEVICE constexpr bool fits(std::int64_t capacity) const {
    return history >= 0 && total() <= capacity;
  }
};

// `start` is kv_start_index of the lane, 0 when the input is empty.
DOVETAIL_HOST_DEVICE constexpr LaneExtent lane_extent(AttentionMode mode, std::int64_t tokens,
                                                      std::int32_t context_length,
                                                      std::int32_t start) {
  const std::int64_t length = context_length > 0 ? context_length : 0;
  const std::int64_t fresh = length < tokens ? length : tokens;
  switch (mode) {
    case AttentionMode::kPrefill:
      return {0, fresh};
    case AttentionMode::kChunkedPrefill:
      return {start, fresh};
    case AttentionMode::kDecode:
      if (length == 1 && start > 0) {
        return {start, 1};
      }
      return length == 0 ? LaneExtent{start, 0} : LaneExtent{length - 1, 1};
    case AttentionMode::kTreeDecode:
      return length == 0 ? LaneExtent{start, 0} : LaneExtent{length - tokens, tokens};
  }
  return {0, 0};
}

}  // namespace dovetail
