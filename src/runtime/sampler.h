// SPDX-License-Identifier: Apache-2.0
// From the logits of one sequence to its next token. The filters run in the order of transformers'
// generate(): repetition penalty, temperature, top-k, top-p, min-p; each sees what the one before
// left. Everything behind the logits is computed in double precision in an order that depends on
// the ids alone, so a sequence gets the same tokens alone and in any batch.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "dovetail/status.h"

namespace dovetail {

struct SamplingOptions {
  float temperature = 0;         // divides the logits; 0: greedy, the filters below do not apply
  int top_k = 0;                 // keep the k largest logits, and those equal to the k-th; 0: all
  float top_p = 1;               // keep the most likely tokens until their probability reaches this
  float min_p = 0;               // keep tokens at least this likely relative to the most likely one
  float repetition_penalty = 1;  // > 1 makes tokens of the history less likely, also when greedy
  uint64_t seed = 0;
};

struct Candidate {
  int32_t id = 0;
  double probability = 0;
};

// Keeps scratch memory between calls: one per thread.
class Sampler {
 public:
  static Result<Sampler> create(const SamplingOptions& options);

  // `logits` [vocabulary]; -inf forbids a token, NaN and +inf are errors. `history` is the prompt
  // and the tokens so far. `sequence` numbers the request (not the batch lane), `step` its tokens:
  // the random number is a function of (seed, sequence, step), see philox.h. Equally likely tokens:
  // the lowest id when greedy.
  Result<int32_t> sample(std::span<const float> logits, std::span<const int32_t> history,
                         uint64_t sequence, uint64_t step);

  // What sample() draws from: ascending ids, probabilities that add up to 1.
  Result<std::vector<Candidate>> distribution(std::span<const float> logits,
                                              std::span<const int32_t> history);

 private:
  struct Weighted {
    int32_t id;
    float logit;
    double weight;  // exp((logit - largest) / temperature)
  };

  explicit Sampler(const SamplingOptions& options) : options_(options) {}

  Status prepare(std::span<const float> logits, std::span<const int32_t> history);
  Status find_best();
  void keep_top_k();
  void keep_top_p();

  SamplingOptions options_;
  std::vector<float> logits_;         // after the repetition penalty
  Weighted best_{};                   // the most likely token
  std::vector<Weighted> candidates_;  // ascending ids
  std::vector<float> largest_;        // scratch of keep_top_k
  std::vector<Weighted> weighty_;     // scratch of keep_top_p
};

}  // namespace dovetail
