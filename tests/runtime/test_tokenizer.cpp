// SPDX-License-Identifier: Apache-2.0
// The tokenizer on a vocabulary that fits on a page, where every id can be checked by reading, and
// what does not show in a comparison with an oracle: threads, long inputs, refusals. The comparison
// itself is tests/python/test_tokenizer.py.
#include "runtime/tokenizer/tokenizer.h"

#include <gtest/gtest.h>

#include <string>
#include <thread>
#include <vector>

#include "runtime/small_tokenizer.h"

namespace dovetail::tokenizer {
namespace {

using Json = nlohmann::json;
using Ids = std::vector<int32_t>;

Tokenizer parse(const Json& json) {
  auto tokenizer = Tokenizer::parse(json.dump());
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.status().message();
  return std::move(tokenizer).value();
}

Ids encode(const Tokenizer& tokenizer, std::string_view text, bool add_special_tokens = false) {
  const auto ids = tokenizer.encode(text, add_special_tokens);
  EXPECT_TRUE(ids.ok()) << ids.status().message();
  return ids.ok() ? *ids : Ids{};
}

TEST(Tokenizer, MergesByRank) {
  const Tokenizer tokenizer = parse(small_tokenizer_json());
  EXPECT_EQ(encode(tokenizer, "the the"), (Ids{kThe, kSpaceThe}));
  EXPECT_EQ(encode(tokenizer, "she"), (Ids{'s', kHe}));
  EXPECT_EQ(encode(tokenizer, "tthee"), (Ids{'t', kThe, 'e'}));
  EXPECT_EQ(encode(tokenizer, "t he"), (Ids{'t', ' ', kHe}));
  EXPECT_EQ(encode(tokenizer, ""), Ids{});
}

TEST(Tokenizer, NormalizesBeforeItSplits) {
  const Tokenizer tokenizer = parse(small_tokenizer_json());
  EXPECT_EQ(encode(tokenizer, "e\u0301"), (Ids{0xC3, 0xA9}));
}

TEST(Tokenizer, CutsAddedTokensOut) {
  const Tokenizer tokenizer = parse(small_tokenizer_json());
  EXPECT_EQ(encode(tokenizer, "the<s>the"), (Ids{kThe, kBegin, kThe}));
  EXPECT_EQ(encode(tokenizer, "<tool><s"), (Ids{kTool, '<', 's'}));
  EXPECT_EQ(encode(tokenizer, "the", true), (Ids{kBegin, kThe}));
  EXPECT_EQ(encode(tokenizer, "", true), (Ids{kBegin}));
}

TEST(Tokenizer, DecodesWithAndWithoutSpecialTokens) {
  const Tokenizer tokenizer = parse(small_tokenizer_json());
  const Ids ids = {kBegin, kThe, kTool, kSpaceThe};
  EXPECT_EQ(tokenizer.decode(ids, false), "<s>the<tool> the");
  EXPECT_EQ(tokenizer.decode(ids, true), "the<tool> the");
  EXPECT_EQ(tokenizer.decode(Ids{-1, 'a', 262, 1 << 30}, false), "a");
}

TEST(Tokenizer, EveryByteSequenceSurvives) {
  const Tokenizer tokenizer = parse(small_tokenizer_json());
  for (const std::string text : {"plain", "日本語 und 😀", "a\nb\t c", "\x01\x7F"}) {
    EXPECT_EQ(tokenizer.decode(encode(tokenizer, text), false), text);
  }
  EXPECT_EQ(tokenizer.decode(encode(tokenizer, "a\xFFz"), false), "a\uFFFDz");
}

TEST(Tokenizer, NamesItsTokens) {
  const Tokenizer tokenizer = parse(small_tokenizer_json());
  EXPECT_EQ(tokenizer.token_id("<s>"), kBegin);
  EXPECT_EQ(tokenizer.token_id("Ġthe"), kSpaceThe);
  EXPECT_EQ(tokenizer.token_id("<s"), std::nullopt);
  EXPECT_EQ(tokenizer.vocabulary_size(), 262u);
}

TEST(Detokenizer, NeverShowsHalfACharacter) {
  const Tokenizer tokenizer = parse(small_tokenizer_json());
  Detokenizer detokenizer(tokenizer);
  EXPECT_EQ(detokenizer.push(kThe), "the");
  EXPECT_EQ(detokenizer.push(0xF0), "");
  EXPECT_EQ(detokenizer.push(0x9F), "");
  EXPECT_EQ(detokenizer.push(kBegin), "");  // special: skipped, and no end of the character
  EXPECT_EQ(detokenizer.push(0x98), "");
  EXPECT_EQ(detokenizer.push(0x80), "😀");
  EXPECT_EQ(detokenizer.push(0xC3), "");
  EXPECT_EQ(detokenizer.finish(), "\uFFFD");
  EXPECT_EQ(detokenizer.finish(), "");
}

TEST(Tokenizer, LongWordsAreNotQuadratic) {
  // One word of 400,000 letters: a quadratic merge loop runs into the time limit of the test.
  std::string text;
  for (int i = 0; i < 100000; ++i) text += "thet";
  const Ids ids = encode(parse(small_tokenizer_json()), text);
  ASSERT_EQ(ids.size(), 200000u);  // "the", "t", "the", "t" ...
  for (size_t i = 0; i < ids.size(); ++i) ASSERT_EQ(ids[i], i % 2 == 0 ? kThe : 't') << i;
  const std::string spaces(1 << 20, ' ');
  EXPECT_EQ(encode(parse(small_tokenizer_json()), spaces).size(), spaces.size());
}

TEST(Tokenizer, ThreadsShareOneTokenizer) {
  const Tokenizer tokenizer = parse(small_tokenizer_json());
  const std::string text = "the other <s> théâtre 123 \xFF";
  const Ids expected = encode(tokenizer, text, true);
  std::vector<Ids> results(4);
  std::vector<std::thread> threads;
  for (Ids& result : results) {
    threads.emplace_back([&] {
      for (int i = 0; i < 50; ++i) {
        const auto ids = tokenizer.encode(text, true);
        if (ids.ok()) result = *ids;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const Ids& result : results) EXPECT_EQ(result, expected);
}

TEST(Tokenizer, SaysWhatIsMissing) {
  const auto tokenizer = Tokenizer::load("/nonexistent/tokenizer.json");
  ASSERT_FALSE(tokenizer.ok());
  EXPECT_EQ(tokenizer.status().code(), StatusCode::kNotFound);
  EXPECT_EQ(tokenizer.status().message(),
            "cannot open /nonexistent/tokenizer.json: No such file or directory");
}

}  // namespace
}  // namespace dovetail::tokenizer
