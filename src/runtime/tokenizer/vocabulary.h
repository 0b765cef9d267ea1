// SPDX-License-Identifier: Apache-2.0
// What a tokenizer.json holds, parsed: the immutable state behind Tokenizer and Detokenizer.
#pragma once

#include <cstdint>
#include <string>

#include "runtime/tokenizer/added_tokens.h"
#include "runtime/tokenizer/bpe_model.h"
#include "runtime/tokenizer/json_reader.h"
#include "runtime/tokenizer/normalizer.h"
#include "runtime/tokenizer/post_processor.h"
#include "runtime/tokenizer/pre_tokenizer.h"

namespace dovetail::tokenizer {

struct Vocabulary {
  // `json` is the whole file. Throws Refusal.
  explicit Vocabulary(const TokenizerFile& file);

  // Appends the bytes of `id`; nothing for an unknown id or a special token to be skipped.
  void append_bytes(int32_t id, bool skip_special_tokens, std::string& out) const;

  BpeModel model;
  Normalizer normalizer;
  PreTokenizer pre_tokenizer;
  AddedTokens added_tokens;
  PostProcessor post_processor;
};

}  // namespace dovetail::tokenizer
