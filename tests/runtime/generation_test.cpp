// SPDX-License-Identifier: Apache-2.0
// The generation loop on the scripted engine, whose continuation is known: what ends a text, what
// comes out, and that a batch gives what each prompt gives alone.
#include "runtime/generation.h"

#include "runtime/synthetic_package.h"

namespace dovetail {
namespace {

using Tokens = std::vector<std::int32_t>;

// What the byte tokenizer makes of printable text: <bos>, then '!' = 0, '"' = 1, ...
Tokens prompt_tokens(const std::string& text) {
  Tokens tokens{SyntheticPackage::kBos};
  for (const char c : text) {
    tokens.push_back(c - '!');
  }
  return tokens;
}

std::string text_of(const Tokens& tokens) {
  std::string text;
  for (const std::int32_t token : tokens) {
    text += static_cast<char>('!' + token);
  }
  return text;
}

Tokens expected_tokens(const std::string& prompt, int count) {
  return scripted_continuation(prompt_tokens(prompt), count);
}

// A test's model and what it was asked.
class GenerationTest : public testing::Test {
 protected:
  void open(int prefill_chunk = 512) { model = scripted_model(synthetic, script, prefill_chunk); }

  // Runs to the end; the pieces of every prompt must add up to its text.
  std::vector<Completion> run(const std::vector<std::string>& prompts,
                              const GenerateOptions& options) {
    auto state = Generation::State::create(model, prompts, options);
    if (!state.ok()) {
      ADD_FAILURE() << state.status().message();
      return std::vector<Completion>(prompts.size());
    }
    Generation generation(std::move(*state));
    std::vector<std::string> pieces(prompts.size());
    for (;;) {
      auto piece = generation.next();
      EXPECT_TRUE(piece.ok()) << piece.status().message();
      if (!piece.ok() || !piece->has_value()) {
        break;
      }
      EXPECT_FALSE((*piece)->text.empty());
      pieces[(*piece)->prompt] += (*piece)->text;
    }
    std::vector<Completion> completions(generation.completions().begin(),
                                        generation.completions().end());
    for (std::size_t i = 0; i < completions.size(); ++i) {
      EXPECT_EQ(completions[i].text, pieces[i]);
    }
    last_timing = generation.timing();
    return completions;
  }

  std::string error_of(const std::vector<std::string>& prompts, const GenerateOptions& options) {
    return Generation::State::create(model, prompts, options).status().message();
  }

  SyntheticPackage synthetic;
  Script script;
  std::shared_ptr<LoadedModel> model;
  Timing last_timing;
};

TEST_F(GenerationTest, GreedyUntilMaxTokens) {
  open();
  const Completion done = run({"history"}, {.max_tokens = 12})[0];
  EXPECT_EQ(done.tokens, expected_tokens("history", 12));
  EXPECT_EQ(done.text, text_of(done.tokens));
  EXPECT_EQ(done.prompt_tokens, 8u);
  EXPECT_EQ(done.reason, FinishReason::kMaxTokens);
  EXPECT_EQ(last_timing.prompt_tokens, 8u);
  EXPECT_EQ(last_timing.decoded_tokens, 11u);
  EXPECT_GE(last_timing.first_token_seconds, last_timing.prefill_seconds);
  EXPECT_EQ(script.steps.size(), 12u) << "one prefill, and no step behind the last token";
}

TEST_F(GenerationTest, BatchEqualsAlone) {
  const std::vector<std::string> prompts = {"a", "of-bridges", "xyz", "The-quick-brown-fox", "a"};
  for (const int chunk : {3, 512}) {
    open(chunk);
    const std::vector<Completion> together = run(prompts, {.max_tokens = 20});
    for (std::size_t i = 0; i < prompts.size(); ++i) {
      EXPECT_EQ(together[i].tokens, expected_tokens(prompts[i], 20)) << prompts[i];
      EXPECT_EQ(together[i].tokens, run({prompts[i]}, {.max_tokens = 20})[0].tokens);
    }
  }
}

TEST_F(GenerationTest, AnyEndOfTextTokenEndsItsLaneOnly) {
  const Tokens a = expected_tokens("aa", 10);
  const Tokens b = expected_tokens("bb", 10);
  synthetic.manifest["eos_token_ids"] = {257, a[4], b[5]};
  synthetic.write();
  // The chosen ids must not occur earlier, or this test would test something else.
  ASSERT_EQ(std::find(a.begin(), a.begin() + 4, a[4]), a.begin() + 4);
  ASSERT_EQ(std::find(b.begin(), b.begin() + 5, b[5]), b.begin() + 5);
  ASSERT_EQ(std::find(b.begin(), b.begin() + 5, a[4]), b.begin() + 5);
  open();
  const std::vector<Completion> done = run({"aa", "bb"}, {.max_tokens = 10});
  EXPECT_EQ(done[0].tokens, Tokens(a.begin(), a.begin() + 4));
  EXPECT_EQ(done[1].tokens, Tokens(b.begin(), b.begin() + 5));
  EXPECT_EQ(done[0].reason, FinishReason::kEndOfText);
  EXPECT_EQ(done[1].reason, FinishReason::kEndOfText);
}

TEST_F(GenerationTest, StopStringsSpreadOverTokens) {
  open();
  const std::string full = text_of(expected_tokens("stop", 16));
  const std::string stop = full.substr(5, 3);
  ASSERT_EQ(full.find(stop), 5u);
  const Completion done = run({"stop"}, {.max_tokens = 16, .stop = {"never ever", stop}})[0];
  EXPECT_EQ(done.text, full.substr(0, 5));
  EXPECT_EQ(done.reason, FinishReason::kStopString);
  EXPECT_EQ(done.tokens.size(), 8u);
  // A stop string that only starts at the end of the text does not eat it.
  const Completion started = run({"stop"}, {.max_tokens = 8, .stop = {stop + "\n"}})[0];
  EXPECT_EQ(started.text, full.substr(0, 8));
  EXPECT_EQ(started.reason, FinishReason::kMaxTokens);
}

TEST_F(GenerationTest, RunsUntilTheCapacityIsFull) {
  open();
  const Completion done = run({"to-the-end"}, {.max_tokens = 0})[0];
  EXPECT_EQ(done.reason, FinishReason::kCapacity);
  // 64 slots hold the prompt and all generated tokens but the last.
  EXPECT_EQ(done.tokens, expected_tokens("to-the-end", 64 - 11 + 1));
  EXPECT_EQ(run({"to-the-end"}, {.max_tokens = 54})[0].tokens, done.tokens);
}

TEST_F(GenerationTest, RefusesBadRequestsBeforeAnythingRuns) {
  open();
  EXPECT_EQ(error_of({"fine", ""}, {.max_tokens = 4}),
            "prompt 1 is empty, expected some text to continue");
  EXPECT_EQ(error_of({std::string(64, 'x')}, {.max_tokens = 1}),
            "prompt 0 has 65 tokens, but the package has a capacity of 64; shorten it, or export "
            "with a larger --capacity");
  EXPECT_EQ(error_of({"to-the-end"}, {.max_tokens = 55}),
            "prompt 0 has 11 tokens and max_tokens is 55, but the package has a capacity of 64; "
            "lower max_tokens to 54, or export with a larger --capacity");
  EXPECT_EQ(error_of(std::vector<std::string>(9, "x"), {.max_tokens = 1}),
            "a batch of 9 prompts, expected 1 to 8, the max_batch that the package was exported "
            "with");
  EXPECT_EQ(error_of({}, {}).substr(0, 19), "a batch of 0 prompt");
  EXPECT_NE(error_of({"x"}, {.max_tokens = -1}), "");
  EXPECT_NE(error_of({"x"}, {.max_tokens = 1, .temperature = -1.0f}), "");
  EXPECT_NE(error_of({"x"}, {.max_tokens = 1, .top_p = 2.0f}), "");
  EXPECT_NE(error_of({"x"}, {.max_tokens = 1, .stop = {""}}), "");
  EXPECT_TRUE(script.steps.empty());
}

TEST_F(GenerationTest, SeedsReproduceAndSequencesDiffer) {
  open();
  const GenerateOptions hot{.max_tokens = 24, .temperature = 20.0f, .seed = 7};
  const auto first = run({"same", "same"}, hot);
  const auto again = run({"same", "same"}, hot);
  EXPECT_EQ(first[0].tokens, again[0].tokens);
  EXPECT_EQ(first[1].tokens, again[1].tokens);
  EXPECT_NE(first[0].tokens, first[1].tokens) << "two lanes share random numbers";
  EXPECT_NE(first[0].tokens,
            run({"same"}, {.max_tokens = 24, .temperature = 20.0f, .seed = 8})[0].tokens);
  const GenerateOptions second_alone{
      .max_tokens = 24, .temperature = 20.0f, .seed = 7, .first_sequence = 1};
  EXPECT_EQ(first[1].tokens, run({"same"}, second_alone)[0].tokens);
}

TEST_F(GenerationTest, CachesAreReusedAndGenerationsAreIndependent) {
  open();
  const std::vector<std::string> one{"first"};
  run(one, {.max_tokens = 5});
  run(one, {.max_tokens = 5});
  EXPECT_EQ(script.contexts, 1);
  // Two at once need a cache each, and do not disturb each other.
  Generation a(std::move(*Generation::State::create(model, one, {.max_tokens = 6})));
  Generation b(std::move(
      *Generation::State::create(model, std::vector<std::string>{"other"}, {.max_tokens = 6})));
  for (bool more = true; more;) {
    const auto piece_a = a.next();
    const auto piece_b = b.next();
    ASSERT_TRUE(piece_a.ok() && piece_b.ok());
    more = piece_a->has_value() || piece_b->has_value();
  }
  EXPECT_EQ(a.completions()[0].tokens, expected_tokens("first", 6));
  EXPECT_EQ(b.completions()[0].tokens, expected_tokens("other", 6));
  EXPECT_EQ(script.contexts, 2);
}

}  // namespace
}  // namespace dovetail
