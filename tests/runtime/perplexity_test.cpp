// SPDX-License-Identifier: Apache-2.0
// The scripted engine gives its favourite token the logit 10 and 257 others 0, so a text's loss
// follows from how many of its tokens are favourites: those that were written by the script from
// the same context.
#include "runtime/perplexity.h"

#include <cmath>

#include "runtime/synthetic_package.h"

namespace dovetail {
namespace {

std::string text_of(const std::vector<std::int32_t>& tokens) {
  std::string text;
  for (const std::int32_t token : tokens) {
    text += static_cast<char>('!' + token);
  }
  return text;
}

const double kHit = std::log(std::exp(10.0) + 257) - 10;
const double kMiss = std::log(std::exp(10.0) + 257);

double expected_perplexity(int hits, int misses) {
  return std::exp((hits * kHit + misses * kMiss) / (hits + misses));
}

// 15 favourites from <bos>, three times, then 7 more: a window of 16 cuts exactly there.
std::string periodic_text() {
  const std::string piece = text_of(scripted_continuation({SyntheticPackage::kBos}, 15));
  return piece + piece + piece + piece.substr(0, 7);
}

TEST(Perplexity, PiecesStandSideBySideBehindBos) {
  const SyntheticPackage synthetic;
  Script script;
  const auto model = scripted_model(synthetic, script);
  for (const std::int64_t batch : {1, 3}) {
    const auto report = measure_perplexity(model, periodic_text(), {.window = 16, .batch = batch});
    ASSERT_TRUE(report.ok()) << report.status().message();
    EXPECT_NEAR(report->perplexity, expected_perplexity(52, 0), 1e-9);
    EXPECT_EQ(report->tokens, 52);
    EXPECT_EQ(report->counted_tokens, 52);
    EXPECT_EQ(report->pieces, 4);
  }
  EXPECT_EQ(script.steps[0].tokens, 16);
  EXPECT_EQ(script.steps[3].tokens, 8);
}

TEST(Perplexity, AMissCostsWhatItShould) {
  const SyntheticPackage synthetic;
  Script script;
  const auto model = scripted_model(synthetic, script);
  std::string text = periodic_text().substr(0, 15);
  text.back() = text.back() == 'x' ? 'y' : 'x';  // the last token: no context is spoilt
  const auto report = measure_perplexity(model, text, {.window = 16});
  EXPECT_NEAR(report->perplexity, expected_perplexity(14, 1), 1e-9);
}

TEST(Perplexity, StrideKeepsContext) {
  const SyntheticPackage synthetic;
  Script script;
  const auto model = scripted_model(synthetic, script);
  const auto report =
      measure_perplexity(model, periodic_text(), {.window = 16, .stride = 5, .max_pieces = 3});
  ASSERT_TRUE(report.ok());
  EXPECT_EQ(report->counted_tokens, 15 + 5 + 5);
  EXPECT_EQ(script.steps.size(), 3u);
  for (const ScriptedStep& step : script.steps) {
    EXPECT_EQ(step.tokens, 16);
  }
}

TEST(Perplexity, WithoutBosTheFirstTokenOfAPieceDoesNotCount) {
  SyntheticPackage synthetic;
  synthetic.manifest["bos_token_id"] = nullptr;
  synthetic.write();
  Script script;
  const auto model = scripted_model(synthetic, script);
  std::vector<std::int32_t> tokens = {3};
  for (const std::int32_t token : scripted_continuation({3}, 15)) {
    tokens.push_back(token);
  }
  const std::string piece = text_of(tokens);
  const auto report = measure_perplexity(model, piece + piece, {.window = 16});
  ASSERT_TRUE(report.ok());
  EXPECT_EQ(report->counted_tokens, 30);
  EXPECT_NEAR(report->perplexity, expected_perplexity(30, 0), 1e-9);
}

TEST(Perplexity, RefusesBadRequests) {
  const SyntheticPackage synthetic;
  Script script;
  const auto model = scripted_model(synthetic, script);
  EXPECT_FALSE(measure_perplexity(model, "text", {.window = 65}).ok());
  EXPECT_FALSE(measure_perplexity(model, "text", {.window = 1}).ok());
  EXPECT_FALSE(measure_perplexity(model, "text", {.window = 16, .stride = 16}).ok());
  EXPECT_FALSE(measure_perplexity(model, "text", {.window = 16, .batch = 9}).ok());
  EXPECT_EQ(measure_perplexity(model, "", {.window = 16}).status().message(),
            "the text has 0 tokens, too few for a perplexity");
}

}  // namespace
}  // namespace dovetail
