// SPDX-License-Identifier: Apache-2.0
// Byte-pair encoding (Sennrich et al. 2016, arXiv:1508.07909): a piece starts as its characters;
// the pair with the lowest rank, leftmost first, is merged until no pair is in the table. Long
// pieces cost O(n log n).
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "runtime/tokenizer/byte_alphabet.h"
#include "runtime/tokenizer/json_reader.h"

namespace dovetail::tokenizer {

class BpeModel {
 public:
  // `json` is the "model" object. Throws Refusal.
  explicit BpeModel(const Json& json);

  // Appends the ids of one piece. Fails when a character is neither in the vocabulary nor covered
  // by an unk_token that is; without an unk_token such characters are dropped, as in `tokenizers`.
  Status encode(std::string_view piece, std::vector<int32_t>& ids) const;

  std::optional<int32_t> token_id(std::string_view token) const;
  // nullptr when no token has this id.
  const std::string* token(int32_t id) const;
  // Number of tokens, and one more than the largest id; they differ when ids have gaps.
  size_t size() const { return ids_.size(); }
  size_t id_limit() const { return tokens_.size(); }

 private:
  struct TextHash {
    using is_transparent = void;
    size_t operator()(std::string_view text) const { return std::hash<std::string_view>{}(text); }
  };
  struct PairHash {
    size_t operator()(uint64_t pair) const { return (pair * 0x9E3779B97F4A7C15u) >> 16; }
  };
  struct Merge {
    uint32_t rank = 0;
    int32_t id = 0;
  };
  struct Symbol {
    int32_t id = 0;
    int32_t previous = -1;
    int32_t next = -1;
    bool merged_away = false;
  };

  void read_vocabulary(const Json& json);
  void read_merges(const Json& json);
  void add_merge(const std::string& left, const std::string& right, uint32_t rank);
  const Merge* find_merge(int32_t left, int32_t right) const;
  Status characters(std::string_view piece, std::vector<Symbol>& symbols) const;
  void merge_pairs(std::vector<Symbol>& symbols) const;

  std::unordered_map<std::string, int32_t, TextHash, std::equal_to<>> ids_;
  std::vector<const std::string*> tokens_;  // by id; points at the keys of ids_
  std::unordered_map<uint64_t, Merge, PairHash> merges_;
  std::vector<int32_t> byte_ids_ = std::vector<int32_t>(kByteAlphabetEnd, -1);  // by character
  std::string unk_token_;
  bool fuse_unk_ = false;
  bool ignore_merges_ = false;
};

}  // namespace dovetail::tokenizer
