// SPDX-License-Identifier: Apache-2.0
// See sampler.h. No filter sorts the vocabulary: top-k selects with a heap of k, top-p halves the
// range that holds its last token, both of them in time linear in the vocabulary for any usual k.
#include "runtime/sampler.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <iterator>
#include <limits>

#include "ops/message.h"
#include "runtime/philox.h"

namespace dovetail {
namespace {

constexpr float kForbidden = -std::numeric_limits<float>::infinity();

template <class Iterator>
double total_weight(Iterator first, Iterator last) {
  double total = 0;
  for (; first != last; ++first) total += first->weight;
  return total;
}

}  // namespace

Result<Sampler> Sampler::create(const SamplingOptions& options) {
  const auto refuse = [](const char* name, auto got, const char* expected) {
    return invalid_argument("sampling: ", name, " is ", got, ", expected ", expected);
  };
  const auto in_unit = [](float value) { return value >= 0 && value <= 1; };
  const auto finite = [](float value) { return std::isfinite(value); };
  if (!finite(options.temperature) || options.temperature < 0) {
    return refuse("temperature", options.temperature, "0 (greedy) or more");
  }
  if (options.top_k < 0) return refuse("top_k", options.top_k, "0 (all) or more");
  if (!in_unit(options.top_p)) return refuse("top_p", options.top_p, "0 to 1");
  if (!in_unit(options.min_p)) return refuse("min_p", options.min_p, "0 to 1");
  if (!finite(options.repetition_penalty) || options.repetition_penalty <= 0) {
    return refuse("repetition_penalty", options.repetition_penalty, "more than 0");
  }
  return Sampler(options);
}

// The logits behind the repetition penalty, and the best of them.
Status Sampler::prepare(std::span<const float> logits, std::span<const int32_t> history) {
  logits_.assign(logits.begin(), logits.end());
  if (options_.repetition_penalty != 1.0f) {
    for (const int32_t id : history) {
      if (id < 0 || static_cast<size_t>(id) >= logits.size()) {
        return invalid_argument("sampling: the history has token ", id,
                                ", expected 0 to less than ", logits.size());
      }
      const float logit = logits[id];
      logits_[id] =
          logit < 0 ? logit * options_.repetition_penalty : logit / options_.repetition_penalty;
    }
  }
  return find_best();
}

Status Sampler::find_best() {
  best_ = {-1, kForbidden, 1.0};
  bool has_nan = false;
  for (size_t i = 0; i < logits_.size(); ++i) {
    has_nan |= std::isnan(logits_[i]);
    if (logits_[i] > best_.logit) best_ = {static_cast<int32_t>(i), logits_[i], 1.0};
  }
  if (has_nan) {
    const auto is_nan = [](float logit) { return std::isnan(logit); };
    const auto first = std::find_if(logits_.begin(), logits_.end(), is_nan) - logits_.begin();
    return invalid_argument("sampling: the logit of token ", first, " is NaN");
  }
  if (best_.id < 0) {
    return invalid_argument("sampling: none of ", logits_.size(), " tokens has a logit above -inf");
  }
  if (std::isinf(best_.logit)) {
    return invalid_argument("sampling: the logit of token ", best_.id, " is +inf");
  }
  return Status::success();
}

void Sampler::keep_top_k() {
  float smallest = std::numeric_limits<float>::lowest();
  const auto k = static_cast<size_t>(options_.top_k);
  if (k > 0 && k < logits_.size()) {
    largest_.resize(k);
    std::partial_sort_copy(logits_.begin(), logits_.end(), largest_.begin(), largest_.end(),
                           std::greater<>());
    smallest = std::max(smallest, largest_.back());
  }
  candidates_.clear();
  for (size_t i = 0; i < logits_.size(); ++i) {
    if (logits_[i] < smallest) continue;
    const double distance = static_cast<double>(logits_[i]) - best_.logit;
    candidates_.push_back(
        {static_cast<int32_t>(i), logits_[i], std::exp(distance / options_.temperature)});
  }
}

// A token stays when those before it, in descending order, have less than top_p of the probability.
void Sampler::keep_top_p() {
  if (options_.top_p >= 1) return;
  const auto likelier = [](const Weighted& a, const Weighted& b) {
    return a.logit != b.logit ? a.logit > b.logit : a.id < b.id;
  };
  const double total = total_weight(candidates_.begin(), candidates_.end());
  // All tokens lighter than the share below weigh less than (1 - top_p) together, so none of them
  // stays; the half is room for rounding.
  const double negligible =
      0.5 * (1.0 - options_.top_p) * total / static_cast<double>(candidates_.size());
  weighty_.clear();
  std::copy_if(candidates_.begin(), candidates_.end(), std::back_inserter(weighty_),
               [negligible](const Weighted& token) { return token.weight >= negligible; });
  // Halve the range that holds the last token to stay, by the weight of its likelier half.
  auto first = weighty_.begin();
  auto last = weighty_.end();
  double mass_before = 0;
  while (last - first > 1) {
    const auto middle = first + (last - first) / 2;
    std::nth_element(first, middle, last, likelier);
    const double mass = total_weight(first, middle);
    if (mass_before + mass >= options_.top_p * total) {
      last = middle;
    } else {
      mass_before += mass;
      first = middle;
    }
  }
  const Weighted cut = *first;
  std::erase_if(candidates_, [&](const Weighted& token) { return likelier(cut, token); });
}

Result<std::vector<Candidate>> Sampler::distribution(std::span<const float> logits,
                                                     std::span<const int32_t> history) {
  DOVETAIL_RETURN_IF_ERROR(prepare(logits, history));
  if (options_.temperature == 0) return std::vector<Candidate>{{best_.id, 1.0}};
  keep_top_k();
  keep_top_p();
  std::erase_if(candidates_, [this](const Weighted& token) {
    return token.weight < options_.min_p || token.weight == 0;
  });
  const double total = total_weight(candidates_.begin(), candidates_.end());
  std::vector<Candidate> kept;
  kept.reserve(candidates_.size());
  for (const Weighted& token : candidates_) kept.push_back({token.id, token.weight / total});
  return kept;
}

Result<int32_t> Sampler::sample(std::span<const float> logits, std::span<const int32_t> history,
                                uint64_t sequence, uint64_t step) {
  const auto kept = distribution(logits, history);
  if (!kept.ok()) return kept.status();
  const double number = uniform_number(options_.seed, sequence, step);
  double mass = 0;
  for (const Candidate& candidate : *kept) {
    mass += candidate.probability;
    if (number < mass) return candidate.id;
  }
  return kept->back().id;  // the probabilities add up to 1 only but for rounding
}

}  // namespace dovetail
