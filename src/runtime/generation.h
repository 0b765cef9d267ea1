// SPDX-License-Identifier: Apache-2.0
// The loop behind dovetail::Generation: prefill once, then one token per running lane and step;
// sampling, detokenization and stop strings per lane. A finished lane stays in the batch, idle, so
// that the others' shapes do not change.
#pragma once

#include <chrono>
#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "runtime/loaded_model.h"
#include "runtime/sampler.h"
#include "runtime/stop_strings.h"

namespace dovetail {

struct Generation::State {
 public:
  // Encodes and checks the prompts; runs nothing.
  static Result<std::unique_ptr<State>> create(const std::shared_ptr<LoadedModel>& model,
                                               std::span<const std::string> prompts,
                                               const GenerateOptions& options);

  Result<std::optional<Piece>> next();

  std::vector<Completion> completions;  // per prompt
  Timing timing;

 private:
  using Clock = std::chrono::steady_clock;

  struct Lane {
    std::vector<std::int32_t> history;  // prompt and generated tokens
    std::size_t max_tokens = 0;
    tokenizer::Detokenizer detokenizer;
    StopStrings stop;
  };

  State(std::shared_ptr<LoadedModel> model, Sampler sampler)
      : model_(std::move(model)), sampler_(std::move(sampler)), started_(Clock::now()) {}

  Status add_prompt(const std::string& prompt, const GenerateOptions& options);
  // Runs the model once: the prompts, or the last token of every running lane.
  Result<std::span<const float>> advance();
  Status take_token(std::size_t lane, std::span<const float> logits);
  void append_text(std::size_t lane, std::string text);
  void finish(std::size_t lane, FinishReason reason);
  bool running(std::size_t lane) const {
    return completions[lane].reason == FinishReason::kRunning;
  }

  std::shared_ptr<LoadedModel> model_;
  Sampler sampler_;
  std::vector<Lane> lanes_;
  LoadedModel::DecoderHandle decoder_;
  std::deque<Piece> ready_;
  Clock::time_point started_;
  std::uint64_t first_sequence_ = 0;
  bool prefilled_ = false;
};

}  // namespace dovetail
