// SPDX-License-Identifier: Apache-2.0
// A compiled regular expression (PCRE2, UTF and UCP, JIT where the machine has it): immutable,
// shared by threads; every search has scratch memory of its own.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "dovetail/status.h"

namespace dovetail::tokenizer {

struct ByteRange {
  size_t begin = 0;
  size_t end = 0;
};

class Regex {
 public:
  // `pattern` in the dialect of tokenizer.json (regex_translation.h). Throws Refusal.
  explicit Regex(const std::string& pattern);
  // Matches `text` itself.
  static Regex literal(const std::string& text);

  // Appends every match in `text` (valid UTF-8), left to right. Empty matches count, except
  // directly behind the previous match: the rule of the `tokenizers` package.
  Status find_all(std::string_view text, std::vector<ByteRange>& matches) const;

 private:
  struct Code;
  explicit Regex(std::shared_ptr<const Code> code) : code_(std::move(code)) {}

  std::shared_ptr<const Code> code_;
};

}  // namespace dovetail::tokenizer
