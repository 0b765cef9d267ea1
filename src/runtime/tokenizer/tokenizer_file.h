// SPDX-License-Identifier: Apache-2.0
// tokenizer.json, parsed. model.vocab is kept out of the tree: as a list in the order of the file it
// costs a third of the time to load, for nobody looks its 100,000 keys up there.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "runtime/tokenizer/json_reader.h"

namespace dovetail::tokenizer {

struct TokenizerFile {
  Json json;  // with an empty object for model.vocab, if that is an object
  std::vector<std::pair<std::string, std::int32_t>> vocabulary;
};

// Throws Refusal, and what the parser throws at text that is not JSON.
TokenizerFile read_tokenizer_file(std::string_view text);

}  // namespace dovetail::tokenizer
