// SPDX-License-Identifier: Apache-2.0
// Ragged batches against the scripted engine, which computes from its own cache what must come out.
#include "runtime/decoder.h"

#include <algorithm>

#include "layout/narrow_float.h"
#include "runtime/embedding.h"
#include "runtime/synthetic_package.h"

namespace dovetail {
namespace {

using Tokens = std::vector<std::int32_t>;

std::int32_t best(std::span<const float> logits, std::size_t row) {
  const auto begin =
      logits.begin() + static_cast<std::ptrdiff_t>(row) * SyntheticPackage::kVocabulary;
  return static_cast<std::int32_t>(std::max_element(begin, begin + SyntheticPackage::kVocabulary) -
                                   begin);
}

std::vector<TokenSpan> spans_of(const std::vector<Tokens>& tokens) {
  return {tokens.begin(), tokens.end()};
}

// Lengths around the chunks below; one lane has a remainder of one token in every chunking.
std::vector<Tokens> ragged_prompts() {
  std::vector<Tokens> prompts;
  for (const int length : {1, 5, 9, 4, 8}) {
    Tokens prompt;
    for (int i = 0; i < length; ++i) {
      prompt.push_back((31 * length + 17 * i) % 90 + 1);
    }
    prompts.push_back(prompt);
  }
  return prompts;
}

TEST(Decoder, RaggedPromptsInAnyChunkingAndDecodeWithIdleLanes) {
  const SyntheticPackage synthetic;
  for (const int chunk : {1, 2, 3, 4, 5, 8, 9, 64}) {
    SCOPED_TRACE(chunk);
    Script script;
    const auto model = scripted_model(synthetic, script);
    auto handle = LoadedModel::borrow_decoder(model, 5);
    ASSERT_TRUE(handle.ok());
    Decoder& decoder = **handle;
    std::vector<Tokens> history = ragged_prompts();
    auto logits = decoder.prefill(spans_of(history), chunk);
    ASSERT_TRUE(logits.ok()) << logits.status().message();
    EXPECT_EQ(static_cast<int>(script.steps.size()), (9 + chunk - 1) / chunk);
    for (std::size_t lane = 0; lane < 5; ++lane) {
      EXPECT_EQ(best(*logits, lane), scripted_next(history[lane])) << "lane " << lane;
      EXPECT_EQ(decoder.length(lane), static_cast<std::int64_t>(history[lane].size()));
    }
    for (std::size_t step = 0; step < 4; ++step) {  // lane `step` is idle
      std::vector<Tokens> fresh(5);
      for (std::size_t lane = 0; lane < 5; ++lane) {
        if (lane != step) {
          fresh[lane] = {scripted_next(history[lane])};
          history[lane].push_back(fresh[lane][0]);
        }
      }
      logits = decoder.step(spans_of(fresh), LogitRows::kLast);
      ASSERT_TRUE(logits.ok()) << logits.status().message();
      for (std::size_t lane = 0; lane < 5; ++lane) {
        if (lane != step) {
          EXPECT_EQ(best(*logits, lane), scripted_next(history[lane])) << "lane " << lane;
        }
      }
    }
    EXPECT_EQ(script.contexts, 1);
  }
}

TEST(Decoder, AllRowsAndSeveralTokensBehindAHistory) {
  const SyntheticPackage synthetic;
  Script script;
  const auto model = scripted_model(synthetic, script);
  auto handle = LoadedModel::borrow_decoder(model, 2);
  Decoder& decoder = **handle;
  const std::vector<Tokens> prompts = {{5, 6, 7}, {9}};
  const std::vector<Tokens> more = {{1, 2}, {3, 4, 5, 6}};
  Tokens lane0;
  Tokens lane1;
  for (const auto& part : {prompts, more}) {
    const auto logits = decoder.step(spans_of(part), LogitRows::kAll);
    ASSERT_TRUE(logits.ok());
    const std::size_t rows = std::max(part[0].size(), part[1].size());
    for (std::size_t i = 0; i < part[0].size(); ++i) {
      lane0.push_back(part[0][i]);
      EXPECT_EQ(best(*logits, i), scripted_next(lane0));
    }
    for (std::size_t i = 0; i < part[1].size(); ++i) {
      lane1.push_back(part[1][i]);
      EXPECT_EQ(best(*logits, rows + i), scripted_next(lane1));
    }
  }
  EXPECT_EQ(script.steps[0].mode, AttentionMode::kPrefill);
  EXPECT_EQ(script.steps[1].mode, AttentionMode::kChunkedPrefill);
}

TEST(Decoder, RefusesWhatDoesNotFitBeforeRunning) {
  const SyntheticPackage synthetic(8);
  Script script;
  const auto model = scripted_model(synthetic, script);
  auto handle = LoadedModel::borrow_decoder(model, 2);
  Decoder& decoder = **handle;
  const auto message_of = [&](const std::vector<Tokens>& tokens) {
    return decoder.prefill(spans_of(tokens), 4).status().message();
  };
  EXPECT_EQ(message_of({{1}, Tokens(9, 1)}),
            "lane 1 holds 0 tokens and gets 9 more, but the package has a capacity of 8");
  EXPECT_EQ(message_of({{1}, {258}}),
            "lane 1 gets token id 258, expected one below vocab_size = 258");
  EXPECT_EQ(message_of({{-1}, {1}}),
            "lane 0 gets token id -1, expected one below vocab_size = 258");
  EXPECT_EQ(message_of({{}, {}}), "no lane has a token");
  EXPECT_EQ(message_of({{1}}), "tokens for 1 lanes, expected 2");
  EXPECT_TRUE(script.steps.empty());
  EXPECT_EQ(message_of({Tokens(8, 1), {1}}), "");
  EXPECT_EQ(message_of({{1}, {1}}),
            "lane 0 holds 8 tokens and gets 1 more, but the package has a capacity of 8");
}

// Values that all three types hold exactly, and one that bf16 rounds.
TEST(Embedding, ConvertsBetweenTheFloatTypes) {
  const float row[] = {1.0f, -2.5f, 0.0f, 0.15625f, 1.0078125f, 1.00390625f};
  std::vector<std::uint16_t> half;
  std::vector<std::uint16_t> bfloat;
  for (const float value : row) {
    half.push_back(float_to_half(value));
    bfloat.push_back(float_to_bfloat16(value));
  }
  const auto table = [](DataType type, std::span<const std::byte> bytes) {
    return SafeTensor{"embedding", {type, {2, 3}}, bytes};
  };
  const SafeTensor fp32 = table(DataType::kFloat32, std::as_bytes(std::span(row)));
  const SafeTensor fp16 = table(DataType::kFloat16, std::as_bytes(std::span(half)));
  const SafeTensor bf16 = table(DataType::kBFloat16, std::as_bytes(std::span(bfloat)));
  float out[3];
  copy_embedding_row(fp32, 1, DataType::kFloat32, std::as_writable_bytes(std::span(out)).data());
  EXPECT_EQ(std::vector<float>(out, out + 3),
            (std::vector<float>{0.15625f, 1.0078125f, 1.00390625f}));
  copy_embedding_row(fp16, 1, DataType::kFloat32, std::as_writable_bytes(std::span(out)).data());
  EXPECT_EQ(std::vector<float>(out, out + 3),
            (std::vector<float>{0.15625f, 1.0078125f, 1.00390625f}));
  copy_embedding_row(bf16, 1, DataType::kFloat32, std::as_writable_bytes(std::span(out)).data());
  EXPECT_EQ(std::vector<float>(out, out + 3), (std::vector<float>{0.15625f, 1.0078125f, 1.0f}));
  std::uint16_t narrow[3];
  copy_embedding_row(fp32, 0, DataType::kBFloat16,
                     std::as_writable_bytes(std::span(narrow)).data());
  EXPECT_EQ(std::vector<std::uint16_t>(narrow, narrow + 3),
            std::vector<std::uint16_t>(bfloat.begin(), bfloat.begin() + 3));
  copy_embedding_row(bf16, 0, DataType::kFloat16, std::as_writable_bytes(std::span(narrow)).data());
  EXPECT_EQ(std::vector<std::uint16_t>(narrow, narrow + 3),
            std::vector<std::uint16_t>(half.begin(), half.begin() + 3));
}

}  // namespace
}  // namespace dovetail
