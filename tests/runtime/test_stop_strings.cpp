// SPDX-License-Identifier: Apache-2.0
// Stop strings: what is shown, what is held back, and that the cut into pieces does not matter.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "runtime/stop_strings.h"

namespace dovetail {
namespace {

StopStrings make(std::vector<std::string> stops) {
  auto matcher = StopStrings::create(std::move(stops));
  EXPECT_TRUE(matcher.ok()) << matcher.status().message();
  return std::move(matcher).value();
}

TEST(StopStrings, PassesTextThroughWithoutStops) {
  StopStrings none;
  EXPECT_EQ(none.push("any text"), "any text");
  EXPECT_EQ(none.finish(), "");
  EXPECT_FALSE(none.stopped());
}

TEST(StopStrings, HoldsBackWhatCouldBecomeAStop) {
  StopStrings matcher = make({"<end>"});
  EXPECT_EQ(matcher.push("text <e"), "text ");
  EXPECT_EQ(matcher.push("n"), "");
  EXPECT_EQ(matcher.push("tire> <"), "<entire> ");
  EXPECT_EQ(matcher.push("end"), "");
  EXPECT_FALSE(matcher.stopped());
  EXPECT_EQ(matcher.push("> more"), "");
  EXPECT_TRUE(matcher.stopped());
  EXPECT_EQ(matcher.push("more"), "");
  EXPECT_EQ(matcher.finish(), "");
}

TEST(StopStrings, FinishGivesBackWhatWasHeld) {
  StopStrings matcher = make({"\n\n"});
  EXPECT_EQ(matcher.push("line\n"), "line");
  EXPECT_EQ(matcher.finish(), "\n");
  EXPECT_EQ(matcher.finish(), "");
}

TEST(StopStrings, RestartsInsideAPartialMatch) {
  StopStrings matcher = make({"aab"});
  EXPECT_EQ(matcher.push("aaaa"), "aa");
  EXPECT_EQ(matcher.push("b"), "");
  EXPECT_TRUE(matcher.stopped());
}

TEST(StopStrings, NeverShowsHalfACharacterOfAStop) {
  StopStrings matcher = make({"é!"});
  EXPECT_EQ(matcher.push("caf"), "caf");
  EXPECT_EQ(matcher.push("é"), "");
  EXPECT_EQ(matcher.push("e"), "ée");
}

TEST(StopStrings, RefusesAnEmptyStop) {
  const auto matcher = StopStrings::create({"a", ""});
  ASSERT_FALSE(matcher.ok());
  EXPECT_EQ(matcher.status().code(), StatusCode::kInvalidArgument);
}

// The definition, without streaming: the stop that is complete first, the longest of those.
std::string expected_text(const std::string& text, const std::vector<std::string>& stops) {
  for (size_t end = 1; end <= text.size(); ++end) {
    size_t longest = 0;
    for (const std::string& stop : stops) {
      if (text.substr(0, end).ends_with(stop)) longest = std::max(longest, stop.size());
    }
    if (longest > 0) return text.substr(0, end - longest);
  }
  return text;
}

TEST(StopStrings, TheCutIntoPiecesDoesNotMatter) {
  const std::vector<std::vector<std::string>> sets = {
      {"b"},          {"ab", "abc"},        {"abc", "b"}, {"aba"},
      {"ca", "abca"}, {"bb", "cc", "aaaa"}, {"abcabc"}};
  for (const auto& stops : sets) {
    for (int number = 0; number < 729; ++number) {  // every text of 6 letters out of a, b, c
      std::string text;
      for (int i = 0, rest = number; i < 6; ++i, rest /= 3)
        text += static_cast<char>('a' + rest % 3);
      for (int cuts = 0; cuts < 32; ++cuts) {  // bit i: a piece ends behind letter i
        StopStrings matcher = make(stops);
        std::string shown;
        std::string piece;
        for (int i = 0; i < 6; ++i) {
          piece += text[i];
          if ((cuts >> i) & 1 || i == 5) {
            shown += matcher.push(piece);
            piece.clear();
          }
        }
        shown += matcher.finish();
        ASSERT_EQ(shown, expected_text(text, stops)) << text << ", cuts " << cuts;
      }
    }
  }
}

}  // namespace
}  // namespace dovetail
