// SPDX-License-Identifier: Apache-2.0
// UTF-8 in one place: reading code points, and the one policy for bytes that are not UTF-8.
// Every maximal ill-formed run (Unicode 15, section 3.9, "substitution of maximal subparts")
// becomes one U+FFFD. That is Python's errors="replace" and Rust's from_utf8_lossy, so text that
// enters and text that leaves the tokenizer is treated as the `tokenizers` package treats it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace dovetail::tokenizer {

inline constexpr char32_t kReplacement = 0xFFFD;

enum class Utf8Kind {
  kValid,       // a whole character
  kInvalid,     // an ill-formed run: replace its `length` bytes by one U+FFFD
  kIncomplete,  // the text ends inside a character that more bytes could still complete
};

struct Utf8Step {
  Utf8Kind kind = Utf8Kind::kInvalid;
  size_t length = 1;  // bytes covered, at least 1
  char32_t code_point = kReplacement;
};

// What starts at text[0]; `text` is not empty.
Utf8Step read_utf8(std::string_view text);

// As read_utf8 for text known to be valid: the code point at `at`, and `at` moved behind it.
char32_t next_code_point(std::string_view valid_text, size_t& at);

void append_utf8(std::string& out, char32_t code_point);

// `text` with every ill-formed run replaced by U+FFFD.
std::string replace_invalid_utf8(std::string_view text);

// Turns a stream of bytes into text: push() returns the characters that are certain and holds back
// a character whose bytes have not all come; finish() turns what is left into U+FFFD.
class Utf8Stream {
 public:
  std::string push(std::string_view bytes);
  std::string finish();

 private:
  std::string pending_;  // at most 3 bytes between calls
};

// White_Space of the Unicode Character Database: what `\s` means to the `tokenizers` package.
bool is_whitespace(char32_t code_point);
// Word characters as in Rust's regex `\w`, which decides the single_word flag of added tokens.
bool is_word(char32_t code_point);
// General categories Nd, Nl and No.
bool is_numeric(char32_t code_point);

}  // namespace dovetail::tokenizer
