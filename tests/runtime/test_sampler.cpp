// SPDX-License-Identifier: Apache-2.0
// The sampler's rules that a distribution does not show: ties, draws, reproducibility, errors. The
// filters themselves are compared with transformers' definitions in tests/python/test_sampler.py.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <set>
#include <vector>

#include "runtime/philox.h"
#include "runtime/sampler.h"

namespace dovetail {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

Sampler make(const SamplingOptions& options) {
  auto sampler = Sampler::create(options);
  EXPECT_TRUE(sampler.ok()) << sampler.status().message();
  return std::move(sampler).value();
}

int32_t draw(Sampler& sampler, const std::vector<float>& logits, uint64_t sequence, uint64_t step,
             const std::vector<int32_t>& history = {}) {
  const auto id = sampler.sample(logits, history, sequence, step);
  EXPECT_TRUE(id.ok()) << id.status().message();
  return id.ok() ? *id : -1;
}

TEST(Sampler, GreedyTakesTheLowestOfEqualLogits) {
  Sampler greedy = make({});
  EXPECT_EQ(draw(greedy, {1, 3, 2, 3}, 0, 0), 1);
  EXPECT_EQ(draw(greedy, {-kInfinity, -5, -5}, 0, 0), 1);
  EXPECT_EQ(draw(greedy, {0.0f, -0.0f}, 0, 0), 0);
}

TEST(Sampler, GreedyIgnoresTheFiltersButNotThePenalty) {
  Sampler sampler = make({.top_k = 1, .top_p = 0.1f, .min_p = 0.9f, .repetition_penalty = 2});
  EXPECT_EQ(draw(sampler, {4, 3, 1}, 0, 0, {0}), 1);        // 4 / 2 < 3
  EXPECT_EQ(draw(sampler, {4, 3, 1}, 0, 0, {0, 0, 0}), 1);  // once per token, not per occurrence
  EXPECT_EQ(draw(sampler, {-1, -1.5f, -9}, 0, 0, {0}), 1);  // -1 * 2 < -1.5
  EXPECT_EQ(draw(sampler, {5, 2, 1}, 0, 0, {0, 1, 2}), 0);  // 2.5, 1, 0.5
}

TEST(Sampler, DrawsAreTheInverseOfTheCumulativeDistribution) {
  const std::vector<float> logits = {std::log(0.1f), std::log(0.2f), std::log(0.3f),
                                     std::log(0.4f)};
  Sampler sampler = make({.temperature = 1, .seed = 42});
  for (uint64_t step = 0; step < 2000; ++step) {
    const double number = uniform_number(42, 7, step);
    const int32_t expected = number < 0.1 ? 0 : number < 0.3 ? 1 : number < 0.6 ? 2 : 3;
    ASSERT_EQ(draw(sampler, logits, 7, step), expected) << "step " << step << ", " << number;
  }
}

TEST(Sampler, FrequenciesFollowTheProbabilities) {
  const std::vector<double> probabilities = {0.5, 0.25, 0.125, 0.125};
  std::vector<float> logits;
  for (const double p : probabilities) logits.push_back(static_cast<float>(std::log(p)));
  Sampler sampler = make({.temperature = 1, .seed = 3});
  constexpr int kDraws = 20000;
  std::vector<int> counts(4);
  for (int step = 0; step < kDraws; ++step) ++counts[draw(sampler, logits, 0, step)];
  for (size_t i = 0; i < 4; ++i) {
    const double deviation = std::sqrt(kDraws * probabilities[i] * (1 - probabilities[i]));
    EXPECT_NEAR(counts[i], kDraws * probabilities[i], 5 * deviation) << i;
  }
}

TEST(Sampler, EqualSeedsRepeatAndOthersDiffer) {
  const std::vector<float> logits(100, 0.0f);
  const auto tokens = [&](uint64_t seed, uint64_t sequence) {
    Sampler sampler = make({.temperature = 1, .seed = seed});
    std::vector<int32_t> ids;
    for (uint64_t step = 0; step < 50; ++step) ids.push_back(draw(sampler, logits, sequence, step));
    return ids;
  };
  EXPECT_EQ(tokens(1, 0), tokens(1, 0));
  EXPECT_NE(tokens(1, 0), tokens(2, 0));
  EXPECT_NE(tokens(1, 0), tokens(1, 1));
  const std::vector<int32_t> ids = tokens(1, 0);
  EXPECT_GT(std::set<int32_t>(ids.begin(), ids.end()).size(), 30u);  // a new number every step
}

TEST(Sampler, EarlierCallsLeaveNoTrace) {
  const std::vector<float> logits = {0, 1, 2, 3, 4, 5};
  const SamplingOptions options{.temperature = 1, .top_k = 4, .top_p = 0.9f, .seed = 9};
  Sampler fresh = make(options);
  Sampler used = make(options);
  for (uint64_t step = 0; step < 20; ++step) {
    draw(used, std::vector<float>(1000, 1.0f), 1, step);  // another sequence of the batch
    EXPECT_EQ(draw(used, logits, 0, step), draw(fresh, logits, 0, step));
  }
}

TEST(Sampler, TokensWithoutProbabilityAreNeverDrawn) {
  Sampler sampler = make({.temperature = 0.01f, .seed = 5});
  for (uint64_t step = 0; step < 200; ++step) {
    EXPECT_EQ(draw(sampler, {-kInfinity, 50, -50, -kInfinity}, 0, step), 1);
  }
}

std::string error_of(const SamplingOptions& options, const std::vector<float>& logits,
                     const std::vector<int32_t>& history = {}) {
  auto sampler = Sampler::create(options);
  if (!sampler.ok()) return sampler.status().message();
  const auto id = sampler->sample(logits, history, 0, 0);
  return id.ok() ? "" : id.status().message();
}

TEST(Sampler, RefusesWhatHasNoDistribution) {
  for (const float temperature : {0.0f, 1.0f}) {
    const SamplingOptions options{.temperature = temperature};
    EXPECT_EQ(error_of(options, {1, 2, kNan, kNan}), "sampling: the logit of token 2 is NaN");
    EXPECT_EQ(error_of(options, {kNan}), "sampling: the logit of token 0 is NaN");
    EXPECT_EQ(error_of(options, {1, kInfinity}), "sampling: the logit of token 1 is +inf");
    EXPECT_EQ(error_of(options, {-kInfinity, -kInfinity}),
              "sampling: none of 2 tokens has a logit above -inf");
    EXPECT_EQ(error_of(options, {}), "sampling: none of 0 tokens has a logit above -inf");
  }
  EXPECT_EQ(error_of({.repetition_penalty = 2}, {1, 2}, {2}),
            "sampling: the history has token 2, expected 0 to less than 2");
}

TEST(Sampler, RefusesBadOptions) {
  EXPECT_EQ(error_of({.temperature = -1}, {1}),
            "sampling: temperature is -1, expected 0 (greedy) or more");
  EXPECT_EQ(error_of({.temperature = kNan}, {1}),
            "sampling: temperature is nan, expected 0 (greedy) or more");
  EXPECT_EQ(error_of({.top_k = -2}, {1}), "sampling: top_k is -2, expected 0 (all) or more");
  EXPECT_EQ(error_of({.top_p = 1.5f}, {1}), "sampling: top_p is 1.5, expected 0 to 1");
  EXPECT_EQ(error_of({.min_p = -0.5f}, {1}), "sampling: min_p is -0.5, expected 0 to 1");
  EXPECT_EQ(error_of({.repetition_penalty = 0}, {1}),
            "sampling: repetition_penalty is 0, expected more than 0");
}

}  // namespace
}  // namespace dovetail
