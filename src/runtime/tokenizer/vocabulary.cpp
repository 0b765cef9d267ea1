// SPDX-License-Identifier: Apache-2.0
// See vocabulary.h. The decoder has no class of its own: ByteLevel is the only one supported, and
// it is append_bytes().
#include "runtime/tokenizer/vocabulary.h"

#include <algorithm>
#include <optional>

#include "runtime/tokenizer/utf8.h"

namespace dovetail::tokenizer {
namespace {

const TokenizerFile& version_checked(const TokenizerFile& file) {
  const std::string version = require_string(file.json, "version", "the file");
  if (version != "1.0") refuse_unsupported("version is '", version, "', supported is '1.0'");
  return file;
}

template <class T>
T read_optional(const Json& json, const char* name) {
  const Json* field = find_field(json, name, "the file");
  return field == nullptr ? T() : T(*field);
}

// Fuse joins the parts of a decoded text, which we do anyway; it must not come before ByteLevel.
void check_decoder(const Json& decoder, int depth, int& byte_levels) {
  if (depth > kMaxNesting) refuse_corrupt("decoder is nested too deep");
  const std::string type = type_of(decoder, "decoder");
  if (type == "Sequence") {
    for (const Json& step : require_array(decoder, "decoders", "decoder")) {
      check_decoder(step, depth + 1, byte_levels);
    }
  } else if (type == "ByteLevel") {
    ++byte_levels;
  } else if (type != "Fuse" || byte_levels == 0) {
    refuse_unsupported("decoder is a ", type, ", supported are ByteLevel and Sequence");
  }
}

void append_decoded(std::string_view token, std::string& out) {
  const size_t before = out.size();
  for (size_t at = 0; at < token.size();) {
    const int byte = byte_of_character(next_code_point(token, at));
    if (byte < 0) {  // a token written in other letters than the byte alphabet stands for itself
      out.resize(before);
      out += token;
      return;
    }
    out += static_cast<char>(byte);
  }
}

}  // namespace

Vocabulary::Vocabulary(const TokenizerFile& file)
    : model(version_checked(file)),
      normalizer(read_optional<Normalizer>(file.json, "normalizer")),
      pre_tokenizer(read_optional<PreTokenizer>(file.json, "pre_tokenizer")),
      post_processor(read_optional<PostProcessor>(file.json, "post_processor")) {
  const Json& json = file.json;
  if (const Json* tokens = find_field(json, "added_tokens", "the file")) {
    added_tokens = AddedTokens(*tokens, model, normalizer);
  }
  int byte_levels = 0;
  if (const Json* decoder = find_field(json, "decoder", "the file")) {
    check_decoder(*decoder, 0, byte_levels);
  }
  if (byte_levels != 1) {
    refuse_unsupported("decoder has ", byte_levels, " ByteLevel steps, supported is one");
  }
  const size_t limit = std::max(model.id_limit(), added_tokens.id_limit());
  if (post_processor.largest_id() >= static_cast<int64_t>(limit)) {
    refuse_corrupt("post_processor inserts id ", post_processor.largest_id(),
                   ", expected less than ", limit);
  }
}

void Vocabulary::append_bytes(int32_t id, bool skip_special_tokens, std::string& out) const {
  const AddedToken* added = added_tokens.find(id);
  if (added != nullptr) {
    if (!(skip_special_tokens && added->special)) append_decoded(added->decoded, out);
  } else if (const auto token = model.token(id)) {
    append_decoded(*token, out);
  }
}

}  // namespace dovetail::tokenizer
