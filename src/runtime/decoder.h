// SPDX-License-Identifier: Apache-2.0
// Tokens in, logits out: turns ragged batches of token ids into steps of the graph and keeps count
// of what every lane's cache holds. It gathers the embedding rows, pads lanes on the right, and
// picks the shapes that select the attention mode (ops/attention_lane.h):
//
//   every lane empty          prefill          kvcache_start_index [0], context_lengths = new
//   tokens S == 1                    decode           start [B], context_lengths = total, 0 for an
//   idle lane otherwise                 chunked prefill  start [B], context_lengths = new tokens
//
// Legend: B lanes, S tokens of the longest lane in this step, L logit rows per lane, V vocabulary.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "runtime/engine.h"
#include "runtime/package.h"

namespace dovetail {

using TokenSpan = std::span<const std::int32_t>;

enum class LogitRows {
  kLast,  // L = 1: the lane's last new token
  kAll,   // L = S: every new token
};

class Decoder {
 public:
  // `package` outlives the decoder.
  Decoder(const Package& package, std::unique_ptr<EngineContext> context);

  std::int64_t batch() const { return context_->batch(); }
  // Tokens in the lane's cache.
  std::int64_t length(std::size_t lane) const { return lengths_[lane]; }
  // Empties every lane.
  void reset();

  // Appends tokens[lane] to each lane, in one call of the graph; a lane with none is idle. Returns
  // the logits [B, L, V], valid until the next call; rows of padding and idle lanes mean nothing.
  Result<std::span<const float>> step(std::span<const TokenSpan> tokens, LogitRows rows);

  // Appends prompts of any length in steps of at most `chunk` tokens per lane. Returns the logits
  // [B, V] behind each prompt's last token.
  Result<std::span<const float>> prefill(std::span<const TokenSpan> prompts, std::int64_t chunk);

 private:
  Status check(std::span<const TokenSpan> tokens) const;
  void gather(std::span<const TokenSpan> tokens, std::int64_t padded_tokens);

  const Package& package_;
  std::unique_ptr<EngineContext> context_;
  std::vector<std::int64_t> lengths_;          // [B]
  std::vector<std::byte> embeds_;              // [B, S, H] activation type
  std::vector<std::int32_t> context_lengths_;  // [B]
  std::vector<std::int32_t> start_index_;      // [B]
  std::vector<std::int64_t> last_token_ids_;   // [B, L]
  std::vector<float> logits_;                  // [B, L, V]
  std::vector<float> prefill_logits_;          // [B, V]
};

}  // namespace dovetail
