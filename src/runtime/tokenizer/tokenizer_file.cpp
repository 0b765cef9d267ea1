// SPDX-License-Identifier: Apache-2.0
// See tokenizer_file.h. The depth that the parser reports: 1 for the keys of the file, 2 for those of
// model, 3 for the tokens in model.vocab.
#include "runtime/tokenizer/tokenizer_file.h"

namespace dovetail::tokenizer {

TokenizerFile read_tokenizer_file(std::string_view text) {
  TokenizerFile file;
  bool model = false;
  bool vocabulary = false;
  std::string token;
  const auto keep = [&](int depth, Json::parse_event_t event, Json& parsed) {
    using Event = Json::parse_event_t;
    if (event == Event::key) {
      if (depth == 1) {
        model = parsed == "model";
      } else if (depth == 2) {
        vocabulary = model && parsed == "vocab";
      } else if (depth == 3 && vocabulary) {
        token.swap(parsed.get_ref<std::string&>());
        return false;  // neither the token nor its value enters the tree
      }
    } else if (vocabulary && depth == 2) {
      vocabulary = event == Event::object_start;
    } else if (vocabulary && depth == 3) {
      if (event != Event::value) {
        refuse_corrupt("model.vocab has an id of type ",
                       event == Event::object_start ? "object" : "array", ", expected an integer");
      }
      file.vocabulary.emplace_back(std::move(token), token_id_value(parsed, "model.vocab"));
    }
    return true;
  };
  file.json = Json::parse(text, keep);
  return file;
}

}  // namespace dovetail::tokenizer
