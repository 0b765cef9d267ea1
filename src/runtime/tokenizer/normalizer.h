// SPDX-License-Identifier: Apache-2.0
// The "normalizer" of tokenizer.json: none, NFC, NFD, NFKC, NFKD, or a Sequence of them, through
// utf8proc. Every other kind is refused by name.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "runtime/tokenizer/json_reader.h"

namespace dovetail::tokenizer {

enum class UnicodeForm { kNfc, kNfd, kNfkc, kNfkd };

class Normalizer {
 public:
  Normalizer() = default;
  // `json` is the normalizer's object. Throws Refusal.
  explicit Normalizer(const Json& json);

  bool empty() const { return forms_.empty(); }
  // `text` is valid UTF-8.
  std::string apply(std::string_view text) const;

 private:
  std::vector<UnicodeForm> forms_;  // applied in order
};

}  // namespace dovetail::tokenizer
