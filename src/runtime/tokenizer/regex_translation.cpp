// SPDX-License-Identifier: Apache-2.0
// See regex_translation.h. One pass over the pattern; the state is whether we are inside [...].
#define PCRE2_CODE_UNIT_WIDTH 8
#include "runtime/tokenizer/regex_translation.h"

#include <pcre2.h>

#include <algorithm>
#include <string_view>

#include "runtime/tokenizer/json_reader.h"

namespace dovetail::tokenizer {
namespace {

constexpr std::string_view kSpaceSet = R"(\x{9}-\x{d}\x{85}\p{Z})";
constexpr std::string_view kHexSet = "0-9A-Fa-f";
// Letters, marks, decimal and letter numbers, connectors; the fractions and superscripts of Latin-1
// (in Oniguruma's table of the first 256 characters only); the circled and squared letters.
constexpr std::string_view kWordSet =
    R"(\p{L}\p{M}\p{Nd}\p{Nl}\p{Pc}\x{b2}\x{b3}\x{b9}\x{bc}-\x{be}\x{24b6}-\x{24e9})"
    R"(\x{1f130}-\x{1f149}\x{1f150}-\x{1f169}\x{1f170}-\x{1f189})";
constexpr std::string_view kGeneralCategories =
    " C L M N P S Z Cc Cf Cn Co Cs Ll Lm Lo Lt Lu Mc Me Mn Nd Nl No Pc Pd Pe Pf Pi Po Ps Sc Sk Sm "
    "So "
    "Zl Zp Zs Any ";

bool compiles(const std::string& pattern) {
  int error = 0;
  PCRE2_SIZE at = 0;
  pcre2_code* code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(),
                                   PCRE2_UTF | PCRE2_UCP, &error, &at, nullptr);
  pcre2_code_free(code);
  return code != nullptr;
}

class Translation {
 public:
  explicit Translation(const std::string& pattern) : in_(pattern) {}

  std::string run() {
    while (at_ < in_.size()) {
      if (peek() == '\\') {
        escape();
      } else if (in_set_) {
        set_character();
      } else {
        plain_character();
      }
    }
    return std::move(out_);
  }

 private:
  [[noreturn]] void refuse(std::string_view what) const {
    refuse_unsupported("the regex '", in_, "' uses ", what, " at byte ", at_,
                       ", which this tokenizer does not support");
  }

  char peek(size_t ahead = 0) const { return at_ + ahead < in_.size() ? in_[at_ + ahead] : '\0'; }
  bool follows(std::string_view text) const { return in_.compare(at_, text.size(), text) == 0; }
  void copy(size_t count) {
    out_.append(in_, at_, count);
    at_ += count;
  }
  void replace(size_t count, std::string_view text) {
    out_ += text;
    at_ += count;
  }
  // A set of characters: as it is inside [...], with brackets of its own outside.
  void replace_by_set(std::string_view set) {
    replace(2, in_set_ ? std::string(set) : concat("[", set, "]"));
  }
  void replace_by_complement(std::string_view set) {
    if (in_set_) refuse("a complement inside a set");
    replace(2, concat("[^", set, "]"));
  }

  void set_character() {
    if (peek() == '[') refuse("a nested or POSIX set");
    if (follows("&&")) refuse("a set intersection");
    in_set_ = peek() != ']';
    copy(1);
  }

  void plain_character() {
    switch (peek()) {
      case '[':
        in_set_ = true;
        copy(peek(1) == '^' ? 2 : 1);
        if (peek() == ']') refuse("']' as the first character of a set");
        return;
      case '(':
        return group();
      case '{':
        return interval();
      case '$':
        refuse("the anchor '$'");
      default:
        return copy(1);
    }
  }

  void group() {
    if (peek(1) != '?') {
      if (peek(1) == '*') refuse("a control verb");
      return copy(1);
    }
    for (const std::string_view known : {"(?:", "(?=", "(?!", "(?<=", "(?<!", "(?>", "(?i:"}) {
      if (follows(known)) return copy(known.size());
    }
    if (at_ == 0 && follows("(?i)")) return copy(4);
    refuse("a group option or name");
  }

  void interval() {
    const size_t end = in_.find('}', at_);
    if (end == std::string::npos) return copy(1);
    const std::string_view body = std::string_view(in_).substr(at_ + 1, end - at_ - 1);
    const bool numeric = !body.empty() && body.find_first_not_of("0123456789,") == body.npos;
    if (!numeric) return copy(1);
    if (body.front() == ',') refuse("an interval without a lower bound");
    copy(body.size() + 2);
    const bool fixed = body.find(',') == body.npos;
    if (peek() == '+' || (fixed && peek() == '?')) refuse("a suffix of an interval");
  }

  void property() {
    const size_t end = in_.find('}', at_);
    if (peek(2) != '{' || end == std::string::npos) refuse("a property without a name");
    std::string name = in_.substr(at_ + 3, end - at_ - 3);
    bool complement = peek(1) == 'P';
    if (!name.empty() && name.front() == '^') {
      complement = !complement;
      name.erase(0, 1);
    }
    const bool category = kGeneralCategories.find(concat(" ", name, " ")) != std::string_view::npos;
    if (!category && compiles(concat("\\p{sc:", name, "}"))) name.insert(0, "sc:");
    replace(end + 1 - at_, concat(complement ? "\\P{" : "\\p{", name, "}"));
  }

  // \xHH and \x{H...}: a raw byte in Oniguruma, so only ASCII means a character in both dialects.
  void hex_escape() {
    const bool braces = peek(2) == '{';
    const size_t first = at_ + (braces ? 3 : 2);
    size_t last = in_.find_first_not_of("0123456789abcdefABCDEF", first);
    last = std::min({last, in_.size(), braces ? in_.size() : first + 2});
    const std::string digits = in_.substr(first, last - first);
    const bool closed = !braces || (last < in_.size() && in_[last] == '}');
    if (digits.empty() || digits.size() > 6 || !closed) refuse("a malformed \\x");
    if (!braces && std::stoul(digits, nullptr, 16) > 0x7F) refuse("a raw byte");
    replace(last + (braces ? 1 : 0) - at_, concat("\\x{", digits, "}"));
  }

  void unicode_escape() {
    const std::string digits = in_.substr(at_ + 2, 4);
    if (digits.size() != 4 ||
        digits.find_first_not_of("0123456789abcdefABCDEF") != std::string::npos) {
      refuse("a malformed \\u");
    }
    replace(6, concat("\\x{", digits, "}"));
  }

  void word_boundary(bool inverted) {
    if (in_set_) {
      if (inverted) refuse("\\B in a set");
      return copy(2);  // a backspace
    }
    const std::string word = concat("[", kWordSet, "]");
    const std::string_view after = inverted ? "(?=" : "(?!";
    const std::string_view otherwise = inverted ? "(?!" : "(?=";
    replace(2,
            concat("(?:(?<=", word, ")", after, word, ")|(?<!", word, ")", otherwise, word, "))"));
  }

  void escape() {
    const char letter = peek(1);
    switch (letter) {
      case 's':
        return replace_by_set(kSpaceSet);
      case 'w':
        return replace_by_set(kWordSet);
      case 'h':
        return replace_by_set(kHexSet);
      case 'S':  // PCRE2's \S and the one character that only PCRE2 calls a space
        return replace_by_set("\\S\\x{180e}");
      case 'W':
        return replace_by_complement(kWordSet);
      case 'H':
        return replace_by_complement(kHexSet);
      case 'v':
        return replace(2, "\\x{b}");
      case 'p':
      case 'P':
        return property();
      case 'x':
        return hex_escape();
      case 'u':
        return unicode_escape();
      case 'b':
      case 'B':
        return word_boundary(letter == 'B');
      case '\0':
        refuse("a backslash at its end");
      default:
        break;
    }
    const bool alphanumeric = (letter >= '0' && letter <= '9') ||
                              (letter >= 'a' && letter <= 'z') || (letter >= 'A' && letter <= 'Z');
    const std::string_view same = in_set_ ? "dDrntfae" : "dDrntfaeAzZ";
    if (alphanumeric && same.find(letter) == same.npos) refuse(concat("\\", letter));
    copy(2);
  }

  const std::string& in_;
  size_t at_ = 0;
  bool in_set_ = false;
  std::string out_;
};

}  // namespace

std::string translate_regex(const std::string& pattern) {
  return Translation(pattern).run();
}

}  // namespace dovetail::tokenizer
