// SPDX-License-Identifier: Apache-2.0
#include "runtime/decoder.h"

#include <algorithm>
#include <utility>

#include "ops/message.h"
#include "runtime/embedding.h"

namespace dovetail {
namespace {

std::size_t longest(std::span<const TokenSpan> tokens) {
  std::size_t longest = 0;
  for (const TokenSpan lane : tokens) {
    longest = std::max(longest, lane.size());
  }
  return longest;
}

}  // namespace

Decoder::Decoder(const Package& package, std::unique_ptr<EngineContext> context)
    : package_(package), context_(std::move(context)) {
  const auto lanes = static_cast<std::size_t>(context_->batch());
  lengths_.resize(lanes);
  context_lengths_.resize(lanes);
  start_index_.resize(lanes);
}

void Decoder::reset() {
  std::fill(lengths_.begin(), lengths_.end(), 0);
}

Status Decoder::check(std::span<const TokenSpan> tokens) const {
  const Manifest& m = package_.manifest;
  if (tokens.size() != lengths_.size()) {
    return invalid_argument("tokens for ", tokens.size(), " lanes, expected ", lengths_.size());
  }
  if (longest(tokens) == 0) {
    return invalid_argument("no lane has a token");
  }
  for (std::size_t lane = 0; lane < tokens.size(); ++lane) {
    const auto fresh = static_cast<std::int64_t>(tokens[lane].size());
    if (lengths_[lane] + fresh > m.capacity) {
      return resource_exhausted("lane ", lane, " holds ", lengths_[lane], " tokens and gets ",
                                fresh, " more, but the package has a capacity of ", m.capacity);
    }
    for (const std::int32_t id : tokens[lane]) {
      if (id < 0 || id >= m.model.vocab_size) {
        return invalid_argument("lane ", lane, " gets token id ", id, ", expected one below ",
                                "vocab_size = ", m.model.vocab_size);
      }
    }
  }
  return Status::success();
}

void Decoder::gather(std::span<const TokenSpan> tokens, std::int64_t padded_tokens) {
  const DataType type = package_.manifest.activation_type;
  const std::size_t row_bytes =
      static_cast<std::size_t>(package_.manifest.model.hidden_size) * size_of(type);
  embeds_.assign(lengths_.size() * static_cast<std::size_t>(padded_tokens) * row_bytes,
                 std::byte{0});
  for (std::size_t lane = 0; lane < tokens.size(); ++lane) {
    std::byte* row = embeds_.data() + lane * static_cast<std::size_t>(padded_tokens) * row_bytes;
    for (const std::int32_t id : tokens[lane]) {
      copy_embedding_row(package_.embedding, id, type, row);
      row += row_bytes;
    }
  }
}

Result<std::span<const float>> Decoder::step(std::span<const TokenSpan> tokens, LogitRows rows) {
  DOVETAIL_RETURN_IF_ERROR(check(tokens));
  const std::size_t lanes = lengths_.size();
  const auto padded = static_cast<std::int64_t>(longest(tokens));
  const std::int64_t rows_per_lane = rows == LogitRows::kAll ? padded : 1;
  const bool all_empty =
      std::all_of(lengths_.begin(), lengths_.end(), [](std::int64_t n) { return n == 0; });
  gather(tokens, padded);
  last_token_ids_.resize(lanes * static_cast<std::size_t>(rows_per_lane));
  for (std::size_t lane = 0; lane < lanes; ++lane) {
    const auto fresh = static_cast<std::int64_t>(tokens[lane].size());
    const bool decode = !all_empty && padded == 1;
    const std::int64_t context = decode && fresh == 1 ? lengths_[lane] + 1 : fresh;
    context_lengths_[lane] = static_cast<std::int32_t>(context);
    start_index_[lane] = static_cast<std::int32_t>(lengths_[lane]);
    for (std::int64_t row = 0; row < rows_per_lane; ++row) {
      const std::int64_t wanted =
          rows == LogitRows::kAll ? row : std::max<std::int64_t>(fresh, 1) - 1;
      last_token_ids_[lane * static_cast<std::size_t>(rows_per_lane) +
                      static_cast<std::size_t>(row)] = wanted;
    }
  }
  const auto vocabulary = static_cast<std::size_t>(package_.manifest.model.vocab_size);
  logits_.resize(last_token_ids_.size() * vocabulary);
  DOVETAIL_RETURN_IF_ERROR(context_->run({
      .batch = context_->batch(),
      .tokens = padded,
      .logit_rows = rows_per_lane,
      .inputs_embeds = embeds_.data(),
      .context_lengths = context_lengths_.data(),
      .last_token_ids = last_token_ids_.data(),
      .kvcache_start_index = all_empty ? nullptr : start_index_.data(),
      .logits = logits_.data(),
  }));
  for (std::size_t lane = 0; lane < lanes; ++lane) {
    lengths_[lane] += static_cast<std::int64_t>(tokens[lane].size());
  }
  return std::span<const float>(logits_);
}

Result<std::span<const float>> Decoder::prefill(std::span<const TokenSpan> prompts,
                                                std::int64_t chunk) {
  DOVETAIL_RETURN_IF_ERROR(check(prompts));
  const auto width = static_cast<std::size_t>(std::max<std::int64_t>(chunk, 1));
  const auto vocabulary = static_cast<std::size_t>(package_.manifest.model.vocab_size);
  prefill_logits_.resize(prompts.size() * vocabulary);
  std::vector<TokenSpan> part(prompts.size());
  for (std::size_t begin = 0; begin < longest(prompts); begin += width) {
    for (std::size_t lane = 0; lane < prompts.size(); ++lane) {
      const std::size_t from = std::min(begin, prompts[lane].size());
      part[lane] = prompts[lane].subspan(from, std::min(width, prompts[lane].size() - from));
    }
    Result<std::span<const float>> logits = step(part, LogitRows::kLast);
    if (!logits.ok()) {
      return logits.status();
    }
    for (std::size_t lane = 0; lane < prompts.size(); ++lane) {
      if (!part[lane].empty()) {  // a later chunk overwrites: the prompt's last row remains
        std::copy_n(logits->begin() + static_cast<std::ptrdiff_t>(lane * vocabulary), vocabulary,
                    prefill_logits_.begin() + static_cast<std::ptrdiff_t>(lane * vocabulary));
      }
    }
  }
  return std::span<const float>(prefill_logits_);
}

}  // namespace dovetail
