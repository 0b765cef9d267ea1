// SPDX-License-Identifier: Apache-2.0
// The "pre_tokenizer" of tokenizer.json: cuts text into pieces that BPE never merges across, and
// (ByteLevel) rewrites the pieces in the byte alphabet. Supported: Split, Digits, ByteLevel and
// Sequence; every other kind is refused by name.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "runtime/tokenizer/json_reader.h"
#include "runtime/tokenizer/regex.h"
#include "runtime/tokenizer/split_pattern.h"

namespace dovetail::tokenizer {

// Consecutive pieces of one text: piece i is text[ends[i-1], ends[i]), and none is empty.
struct Pieces {
  std::string text;
  std::vector<size_t> ends;

  void append(std::string_view piece) {
    text += piece;
    ends.push_back(text.size());
  }
};

class PreTokenizer {
 public:
  PreTokenizer() = default;
  // `json` is the pre-tokenizer's object. Throws Refusal.
  explicit PreTokenizer(const Json& json);

  // `text` is valid UTF-8.
  Result<Pieces> apply(std::string_view text) const;

 private:
  enum class Kind { kSplit, kDigits, kToByteAlphabet, kPrefixSpace };
  struct Step {
    Kind kind = Kind::kSplit;
    std::vector<Regex> pattern{};  // one for kSplit
    SplitBehavior behavior = SplitBehavior::kIsolated;
    bool invert = false;
  };

  void read(const Json& json, const std::string& where, int depth);
  void read_split(const Json& json, const std::string& where);
  static Status apply_step(const Step& step, std::string_view piece, Pieces& out);

  std::vector<Step> steps_;
};

}  // namespace dovetail::tokenizer
