// SPDX-License-Identifier: Apache-2.0
// Byte-pair encoding (Sennrich et al. 2016, arXiv:1508.07909): a piece starts as its characters;
// the pair with the lowest rank, leftmost first, is merged until no pair is in the table. Long
// pieces cost O(n log n).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/tokenizer/byte_alphabet.h"
#include "runtime/tokenizer/token_table.h"
#include "runtime/tokenizer/tokenizer_file.h"

namespace dovetail::tokenizer {

class BpeModel {
 public:
  // Throws Refusal.
  explicit BpeModel(const TokenizerFile& file);

  // Appends the ids of one piece. Fails when a character is neither in the vocabulary nor covered
  // by an unk_token that is; without an unk_token such characters are dropped, as in `tokenizers`.
  Status encode(std::string_view piece, std::vector<int32_t>& ids) const;

  std::optional<int32_t> token_id(std::string_view token) const { return tokens_.find(token); }
  // Nothing when no token has this id.
  std::optional<std::string_view> token(int32_t id) const { return tokens_.text(id); }
  // Number of tokens, and one more than the largest id; they differ when ids have gaps.
  size_t size() const { return tokens_.size(); }
  size_t id_limit() const { return tokens_.id_limit(); }

 private:
  struct Symbol {
    int32_t id = 0;
    int32_t previous = -1;
    int32_t next = -1;
    bool merged_away = false;
  };

  void read_vocabulary(const TokenizerFile& file);
  void read_merges(const Json& json);
  void add_merge(std::string_view left, std::string_view right, uint32_t rank);
  Status characters(std::string_view piece, std::vector<Symbol>& symbols) const;
  void merge_pairs(std::vector<Symbol>& symbols) const;

  TokenTable tokens_;
  MergeTable merges_;
  std::vector<int32_t> byte_ids_ = std::vector<int32_t>(kByteAlphabetEnd, -1);  // by character
  std::string unk_token_;
  bool fuse_unk_ = false;
  bool ignore_merges_ = false;
};

}  // namespace dovetail::tokenizer
