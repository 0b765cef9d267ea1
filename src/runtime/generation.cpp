// SPDX-License-Identifier: Apache-2.0
#include "runtime/generation.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "ops/message.h"

namespace dovetail {
namespace {

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

SamplingOptions sampling_of(const GenerateOptions& options) {
  return {.temperature = options.temperature,
          .top_k = options.top_k,
          .top_p = options.top_p,
          .min_p = options.min_p,
          .repetition_penalty = options.repetition_penalty,
          .seed = options.seed};
}

}  // namespace

Result<std::unique_ptr<Generation::State>> Generation::State::create(
    const std::shared_ptr<LoadedModel>& model, std::span<const std::string> prompts,
    const GenerateOptions& options) {
  if (options.max_tokens < 0) {
    return invalid_argument("max_tokens is ", options.max_tokens, ", expected at least 0");
  }
  Result<Sampler> sampler = Sampler::create(sampling_of(options));
  if (!sampler.ok()) {
    return sampler.status();
  }
  std::unique_ptr<State> state(new State(model, std::move(*sampler)));
  state->first_sequence_ = options.first_sequence;
  for (const std::string& prompt : prompts) {
    DOVETAIL_RETURN_IF_ERROR(state->add_prompt(prompt, options));
  }
  Result<LoadedModel::DecoderHandle> decoder =
      LoadedModel::borrow_decoder(model, static_cast<std::int64_t>(prompts.size()));
  if (!decoder.ok()) {
    return decoder.status();
  }
  state->decoder_ = std::move(*decoder);
  return state;
}

Status Generation::State::add_prompt(const std::string& prompt, const GenerateOptions& options) {
  const std::size_t index = lanes_.size();
  if (prompt.empty()) {
    return invalid_argument("prompt ", index, " is empty, expected some text to continue");
  }
  Result<std::vector<std::int32_t>> tokens = model_->tokenizer->encode(prompt, true);
  if (!tokens.ok()) {
    return tokens.status();
  }
  Result<StopStrings> stop = StopStrings::create(options.stop);
  if (!stop.ok()) {
    return stop.status();
  }
  // The last token that is generated takes no slot: nothing is computed behind it.
  const auto capacity = static_cast<std::size_t>(model_->package.manifest.capacity);
  const auto wanted = static_cast<std::size_t>(options.max_tokens);
  if (tokens->size() > capacity) {
    return resource_exhausted("prompt ", index, " has ", tokens->size(),
                              " tokens, but the package has a capacity of ", capacity,
                              "; shorten it, or export with a larger --capacity");
  }
  if (wanted > 0 && tokens->size() + wanted - 1 > capacity) {
    return resource_exhausted("prompt ", index, " has ", tokens->size(), " tokens and max_tokens ",
                              "is ", wanted, ", but the package has a capacity of ", capacity,
                              "; lower max_tokens to ", capacity - tokens->size() + 1,
                              ", or export with a larger --capacity");
  }
  completions.push_back({.prompt_tokens = tokens->size()});
  timing.prompt_tokens += tokens->size();
  lanes_.push_back({.history = std::move(*tokens),
                    .max_tokens = wanted > 0 ? wanted : std::numeric_limits<std::size_t>::max(),
                    .detokenizer = tokenizer::Detokenizer(*model_->tokenizer),
                    .stop = std::move(*stop)});
  return Status::success();
}

Result<std::optional<Piece>> Generation::State::next() {
  while (ready_.empty()) {
    bool any = false;
    for (std::size_t lane = 0; lane < lanes_.size(); ++lane) {
      any = any || running(lane);
    }
    if (!any) {
      return std::optional<Piece>();
    }
    const auto start = Clock::now();
    Result<std::span<const float>> logits = advance();
    if (!logits.ok()) {
      return logits.status();
    }
    if (!prefilled_) {
      timing.prefill_seconds = seconds_since(start);
    }
    const auto vocabulary = static_cast<std::size_t>(model_->package.manifest.model.vocab_size);
    for (std::size_t lane = 0; lane < lanes_.size(); ++lane) {
      if (running(lane)) {
        timing.decoded_tokens += prefilled_ ? 1 : 0;
        DOVETAIL_RETURN_IF_ERROR(take_token(lane, logits->subspan(lane * vocabulary, vocabulary)));
      }
    }
    if (prefilled_) {
      timing.decode_seconds += seconds_since(start);
    } else {
      timing.first_token_seconds = seconds_since(started_);
      prefilled_ = true;
    }
  }
  Piece piece = std::move(ready_.front());
  ready_.pop_front();
  return std::optional<Piece>(std::move(piece));
}

Result<std::span<const float>> Generation::State::advance() {
  std::vector<TokenSpan> tokens(lanes_.size());
  for (std::size_t lane = 0; lane < lanes_.size(); ++lane) {
    const TokenSpan history = lanes_[lane].history;
    tokens[lane] = !prefilled_ ? history : running(lane) ? history.last(1) : TokenSpan();
  }
  return prefilled_ ? decoder_->step(tokens, LogitRows::kLast)
                    : decoder_->prefill(tokens, model_->options.prefill_chunk);
}

Status Generation::State::take_token(std::size_t index, std::span<const float> logits) {
  Lane& lane = lanes_[index];
  Completion& completion = completions[index];
  const Manifest& manifest = model_->package.manifest;
  Result<std::int32_t> token =
      sampler_.sample(logits, lane.history, first_sequence_ + index, completion.tokens.size());
  if (!token.ok()) {
    return data_loss("prompt ", index, ", token ", completion.tokens.size(), ": ",
                     token.status().message(), " (damaged weights in ",
                     model_->package.folder.string(), "?)");
  }
  const std::vector<std::int32_t>& ends = manifest.eos_token_ids;
  if (std::find(ends.begin(), ends.end(), *token) != ends.end()) {
    finish(index, FinishReason::kEndOfText);
    return Status::success();
  }
  lane.history.push_back(*token);
  completion.tokens.push_back(*token);
  append_text(index, lane.stop.push(lane.detokenizer.push(*token)));
  if (lane.stop.stopped()) {
    finish(index, FinishReason::kStopString);
  } else if (completion.tokens.size() >= lane.max_tokens) {
    finish(index, FinishReason::kMaxTokens);
  } else if (decoder_->length(index) >= manifest.capacity) {
    finish(index, FinishReason::kCapacity);
  }
  return Status::success();
}

void Generation::State::append_text(std::size_t index, std::string text) {
  if (!text.empty()) {
    completions[index].text += text;
    ready_.push_back({index, std::move(text)});
  }
}

void Generation::State::finish(std::size_t index, FinishReason reason) {
  Lane& lane = lanes_[index];
  append_text(index, lane.stop.push(lane.detokenizer.finish()));
  append_text(index, lane.stop.finish());
  completions[index].reason = reason;
}

}  // namespace dovetail
