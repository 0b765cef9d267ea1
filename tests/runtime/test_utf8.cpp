// SPDX-License-Identifier: Apache-2.0
// UTF-8: replacing ill-formed bytes (examples of the Unicode standard, section 3.9), and streaming.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "runtime/tokenizer/utf8.h"

namespace dovetail::tokenizer {
namespace {

const std::string kMark = "\xEF\xBF\xBD";

std::string marks(int count) {
  std::string text;
  for (int i = 0; i < count; ++i) text += kMark;
  return text;
}

TEST(Utf8, ReplacesMaximalSubparts) {
  // Tables 3-8 to 3-11 of the Unicode standard, version 15.
  EXPECT_EQ(replace_invalid_utf8("\xC0\xAF\xE0\x80\xBF\xF0\x81\x82\x41"), marks(8) + "A");
  EXPECT_EQ(replace_invalid_utf8("\xED\xA0\x80\xED\xBF\xBF\xED\xAF\x41"), marks(8) + "A");
  EXPECT_EQ(replace_invalid_utf8("\xF4\x91\x92\x93\xFF\x41\x80\xBF\x42"),
            marks(5) + "A" + marks(2) + "B");
  EXPECT_EQ(replace_invalid_utf8("\xE1\x80\xE2\xF0\x91\x92\xF1\xBF\x41"), marks(4) + "A");
}

TEST(Utf8, KeepsEveryCodePoint) {
  for (char32_t code_point = 0; code_point < 0x110000; ++code_point) {
    if (code_point >= 0xD800 && code_point < 0xE000) continue;
    std::string text;
    append_utf8(text, code_point);
    const Utf8Step step = read_utf8(text);
    ASSERT_TRUE(step.kind == Utf8Kind::kValid && step.length == text.size() &&
                step.code_point == code_point)
        << static_cast<uint32_t>(code_point);
  }
}

TEST(Utf8, AStreamShowsWholeCharactersOnly) {
  Utf8Stream stream;
  EXPECT_EQ(stream.push("a\xF0"), "a");
  EXPECT_EQ(stream.push("\x9F"), "");
  EXPECT_EQ(stream.push("\x98\x80!"), "\xF0\x9F\x98\x80!");
  EXPECT_EQ(stream.push("\xE2\x82"), "");
  EXPECT_EQ(stream.push("b"), kMark + "b");
  EXPECT_EQ(stream.push("\xE2\x82"), "");
  EXPECT_EQ(stream.finish(), kMark);
  EXPECT_EQ(stream.finish(), "");
}

TEST(Utf8, TheCutOfAStreamDoesNotMatter) {
  const std::vector<uint8_t> alphabet = {0x41, 0x80, 0x9F, 0xA0, 0xC3,
                                         0xE0, 0xED, 0xF0, 0xF4, 0xFF};
  for (int number = 0; number < 10000; ++number) {  // every text of four of these bytes
    std::string text;
    for (int i = 0, rest = number; i < 4; ++i, rest /= 10)
      text += static_cast<char>(alphabet[rest % 10]);
    Utf8Stream stream;
    std::string joined;
    for (const char byte : text) joined += stream.push(std::string(1, byte));
    joined += stream.finish();
    ASSERT_EQ(joined, replace_invalid_utf8(text)) << number;
  }
}

TEST(Utf8, WhiteSpaceIsTheUnicodeProperty) {
  int count = 0;
  for (char32_t code_point = 0; code_point < 0x110000; ++code_point)
    count += is_whitespace(code_point);
  EXPECT_EQ(count, 25);  // PropList.txt: White_Space, total code points
  EXPECT_FALSE(is_whitespace(0x180E));
  EXPECT_FALSE(is_whitespace(0x200B));
}

TEST(Utf8, WordAndNumericCharacters) {
  for (const char32_t word : {U'a', U'_', U'5', U'é', U'漢', U'\u0301', U'\u200D', U'Ⓐ', U'Ⅷ'}) {
    EXPECT_TRUE(is_word(word)) << static_cast<uint32_t>(word);
  }
  for (const char32_t other : {U' ', U'-', U'<', U'½', U'😀', U'\u3000'}) {
    EXPECT_FALSE(is_word(other)) << static_cast<uint32_t>(other);
  }
  for (const char32_t number : {U'0', U'٣', U'½', U'Ⅷ', U'①'}) {
    EXPECT_TRUE(is_numeric(number)) << static_cast<uint32_t>(number);
  }
  EXPECT_FALSE(is_numeric(U'a'));
  EXPECT_FALSE(is_numeric(U'一'));
}

}  // namespace
}  // namespace dovetail::tokenizer
