// SPDX-License-Identifier: Apache-2.0
// The "added_tokens" of tokenizer.json: strings such as <|im_start|> that are one token wherever
// they occur and are cut out of the text before the pre-tokenizer sees it. Matching is
// leftmost-longest. Tokens with "normalized": false are looked for in the raw text, the others in
// the normalized rest.
//   lstrip / rstrip   the match takes the white space before / behind it
//   single_word       the match counts only between characters that are not word characters
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "runtime/tokenizer/bpe_model.h"
#include "runtime/tokenizer/json_reader.h"
#include "runtime/tokenizer/normalizer.h"

namespace dovetail::tokenizer {

struct AddedToken {
  int32_t id = 0;
  std::string content;
  std::string decoded;  // what decoding prints: the normalized content where `normalized` is set
  bool single_word = false;
  bool lstrip = false;
  bool rstrip = false;
  bool normalized = true;
  bool special = false;
};

// Part of a text: an added token, or (id < 0) text that BPE has to look at.
struct Section {
  int32_t id = -1;
  std::string_view text;
};

// A trie over bytes that finds the longest of its patterns at one position.
class TokenTrie {
 public:
  // `value` >= 0. The first of two equal patterns stays.
  void add(std::string_view pattern, int32_t value);

  struct Match {
    int32_t value = -1;  // -1: none
    size_t length = 0;
  };
  Match longest_at(std::string_view text, size_t at) const;

 private:
  struct Node {
    int32_t value = -1;
    std::unordered_map<uint8_t, int32_t> children;
  };
  std::vector<Node> nodes_ = std::vector<Node>(1);
};

class AddedTokens {
 public:
  AddedTokens() = default;
  // `json` is the array. The ids must be those that `tokenizers` gives to the tokens: the id in the
  // vocabulary, else the next free one. Throws Refusal.
  AddedTokens(const Json& json, const BpeModel& model, const Normalizer& normalizer);

  // Cuts `text` at the tokens that are matched before (raw) or after normalization.
  std::vector<Section> split_raw(std::string_view text) const { return split(text, raw_); }
  std::vector<Section> split_normalized(std::string_view text) const {
    return split(text, normalized_);
  }

  // nullptr when this id or string is no added token.
  const AddedToken* find(int32_t id) const;
  const AddedToken* find(std::string_view content) const;
  // One more than the largest id, 0 without tokens.
  size_t id_limit() const { return id_limit_; }

 private:
  std::vector<Section> split(std::string_view text, const TokenTrie& trie) const;

  std::vector<AddedToken> tokens_;
  std::unordered_map<int32_t, size_t> index_by_id_;
  TokenTrie raw_;
  TokenTrie normalized_;
  TokenTrie contents_;
  size_t id_limit_ = 0;
};

}  // namespace dovetail::tokenizer
