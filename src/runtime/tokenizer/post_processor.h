// SPDX-License-Identifier: Apache-2.0
// The "post_processor" of tokenizer.json for one sequence (no pairs): the special tokens that a
// template puts before and behind the text. Supported: TemplateProcessing, ByteLevel (which only
// moves offsets) and Sequence; every other kind is refused by name.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "runtime/tokenizer/json_reader.h"

namespace dovetail::tokenizer {

class PostProcessor {
 public:
  PostProcessor() = default;
  // `json` is the post-processor's object. Throws Refusal.
  explicit PostProcessor(const Json& json);

  // Wraps `ids` in the special tokens.
  std::vector<int32_t> add_special_tokens(std::vector<int32_t> ids) const;
  // For checking: the largest id that add_special_tokens() inserts, -1 for none.
  int32_t largest_id() const;

 private:
  struct Part {
    bool is_text = false;
    std::vector<int32_t> ids;
  };
  using Template = std::vector<Part>;

  void read(const Json& json, const std::string& where, int depth);
  void read_template(const Json& json, const std::string& where);

  std::vector<Template> templates_;  // applied in order
};

}  // namespace dovetail::tokenizer
