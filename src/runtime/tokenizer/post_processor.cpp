// SPDX-License-Identifier: Apache-2.0
// See post_processor.h.
#include "runtime/tokenizer/post_processor.h"

#include <algorithm>

namespace dovetail::tokenizer {

PostProcessor::PostProcessor(const Json& json) {
  read(json, "post_processor", 0);
}

void PostProcessor::read(const Json& json, const std::string& where, int depth) {
  if (depth > kMaxNesting) refuse_corrupt(where, " is nested too deep");
  const std::string type = type_of(json, where);
  if (type == "Sequence") {
    for (const Json& step : require_array(json, "processors", where)) {
      read(step, where + ".processors", depth + 1);
    }
  } else if (type == "TemplateProcessing") {
    read_template(json, where);
  } else if (type != "ByteLevel") {
    refuse_unsupported(where, " is a ", type,
                       ", supported are TemplateProcessing, ByteLevel and Sequence");
  }
}

void PostProcessor::read_template(const Json& json, const std::string& where) {
  const Json& special_tokens = require_object(json, "special_tokens", where);
  Template parts;
  for (const Json& piece : require_array(json, "single", where)) {
    if (find_field(piece, "Sequence", where + ".single") != nullptr) {
      const Json& sequence = require_object(piece, "Sequence", where + ".single");
      const std::string id = require_string(sequence, "id", where + ".single");
      if (id != "A") refuse_corrupt(where, ".single names sequence '", id, "', expected A");
      parts.push_back({.is_text = true, .ids = {}});
      continue;
    }
    const Json& special = require_object(piece, "SpecialToken", where + ".single");
    const std::string name = require_string(special, "id", where + ".single");
    const Json& token = require_object(special_tokens, name, where + ".special_tokens");
    Part part;
    for (const Json& id : require_array(token, "ids", where + ".special_tokens")) {
      part.ids.push_back(token_id_value(id, where + ".special_tokens"));
    }
    parts.push_back(std::move(part));
  }
  const auto texts =
      std::count_if(parts.begin(), parts.end(), [](const Part& p) { return p.is_text; });
  if (texts != 1) {
    refuse_unsupported(where, ".single contains the text ", texts, " times, supported is once");
  }
  templates_.push_back(std::move(parts));
}

std::vector<int32_t> PostProcessor::add_special_tokens(std::vector<int32_t> ids) const {
  for (const Template& parts : templates_) {
    std::vector<int32_t> wrapped;
    for (const Part& part : parts) {
      const std::vector<int32_t>& source = part.is_text ? ids : part.ids;
      wrapped.insert(wrapped.end(), source.begin(), source.end());
    }
    ids = std::move(wrapped);
  }
  return ids;
}

int32_t PostProcessor::largest_id() const {
  int32_t largest = -1;
  for (const Template& parts : templates_) {
    for (const Part& part : parts) {
      for (const int32_t id : part.ids) largest = std::max(largest, id);
    }
  }
  return largest;
}

}  // namespace dovetail::tokenizer
