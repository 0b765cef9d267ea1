// SPDX-License-Identifier: Apache-2.0
// Byte-level BPE tokenizer read from a Hugging Face tokenizer.json; gives the ids and texts that
// the `tokenizers` package gives for the same file.
//   text -> added tokens cut out -> normalizer -> pre-tokenizer -> BPE -> special tokens around it
// Text may be any bytes: what is not UTF-8 becomes U+FFFD (utf8.h), as errors="replace" does in
// Python. The file's "truncation" and "padding" entries concern batches of a training script and
// are not applied: a prompt is never shortened silently. What this tokenizer does not implement is
// refused by name when the file is loaded.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "dovetail/status.h"
#include "runtime/tokenizer/utf8.h"

namespace dovetail::tokenizer {

struct Vocabulary;

// Cheap to copy (copies share the vocabulary); const members may be called from several threads.
class Tokenizer {
 public:
  static Result<Tokenizer> load(const std::string& path);
  static Result<Tokenizer> parse(std::string_view json);

  Result<std::vector<int32_t>> encode(std::string_view text, bool add_special_tokens) const;
  // Ids without a token are left out; bytes that are not UTF-8 become U+FFFD.
  std::string decode(std::span<const int32_t> ids, bool skip_special_tokens) const;

  std::optional<int32_t> token_id(std::string_view token) const;
  // One more than the largest id.
  size_t vocabulary_size() const;

 private:
  friend class Detokenizer;
  explicit Tokenizer(std::shared_ptr<const Vocabulary> vocabulary)
      : vocabulary_(std::move(vocabulary)) {}

  std::shared_ptr<const Vocabulary> vocabulary_;
};

// decode() one token at a time: the pieces put together are the text of the whole sequence, and no
// piece ends inside a character.
class Detokenizer {
 public:
  explicit Detokenizer(const Tokenizer& tokenizer, bool skip_special_tokens = true)
      : vocabulary_(tokenizer.vocabulary_), skip_special_tokens_(skip_special_tokens) {}

  std::string push(int32_t id);
  // The rest: U+FFFD when the sequence ended inside a character, else nothing.
  std::string finish() { return stream_.finish(); }

 private:
  std::shared_ptr<const Vocabulary> vocabulary_;
  bool skip_special_tokens_;
  Utf8Stream stream_;
};

}  // namespace dovetail::tokenizer
