// SPDX-License-Identifier: Apache-2.0
// See pre_tokenizer.h. ByteLevel is up to 3 steps: a leading space, GPT-2's regex, byte alphabet.
#include "runtime/tokenizer/pre_tokenizer.h"

#include "runtime/tokenizer/byte_alphabet.h"
#include "runtime/tokenizer/utf8.h"

namespace dovetail::tokenizer {
namespace {

// The pattern of GPT-2's tokenizer, which "use_regex": true stands for.
constexpr const char* kByteLevelRegex =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

std::vector<ByteRange> numeric_characters(std::string_view text) {
  std::vector<ByteRange> found;
  for (size_t at = 0; at < text.size();) {
    const size_t begin = at;
    if (is_numeric(next_code_point(text, at))) found.push_back({begin, at});
  }
  return found;
}

}  // namespace

PreTokenizer::PreTokenizer(const Json& json) {
  read(json, "pre_tokenizer", 0);
}

void PreTokenizer::read(const Json& json, const std::string& where, int depth) {
  if (depth > kMaxNesting) refuse_corrupt(where, " is nested too deep");
  const std::string type = type_of(json, where);
  if (type == "Sequence") {
    for (const Json& step : require_array(json, "pretokenizers", where)) {
      read(step, where + ".pretokenizers", depth + 1);
    }
  } else if (type == "Split") {
    read_split(json, where);
  } else if (type == "Digits") {
    const bool individual = require_bool(json, "individual_digits", where);
    steps_.push_back(
        {.kind = Kind::kDigits,
         .behavior = individual ? SplitBehavior::kIsolated : SplitBehavior::kContiguous});
  } else if (type == "ByteLevel") {
    if (require_bool(json, "add_prefix_space", where)) {
      steps_.push_back({.kind = Kind::kPrefixSpace});
    }
    if (bool_field(json, "use_regex", true, where)) {
      steps_.push_back({.kind = Kind::kSplit, .pattern = {Regex(kByteLevelRegex)}});
    }
    steps_.push_back({.kind = Kind::kToByteAlphabet});
  } else {
    refuse_unsupported(where, " is a ", type,
                       ", supported are ByteLevel, Split, Digits and Sequence");
  }
}

void PreTokenizer::read_split(const Json& json, const std::string& where) {
  const Json& pattern = require_object(json, "pattern", where);
  Step step{.kind = Kind::kSplit,
            .behavior = split_behavior(require_string(json, "behavior", where), where),
            .invert = require_bool(json, "invert", where)};
  if (find_field(pattern, "Regex", where) != nullptr) {
    step.pattern.emplace_back(require_string(pattern, "Regex", where + ".pattern"));
  } else {
    step.pattern.push_back(Regex::literal(require_string(pattern, "String", where + ".pattern")));
  }
  steps_.push_back(std::move(step));
}

Status PreTokenizer::apply_step(const Step& step, std::string_view piece, Pieces& out) {
  std::vector<ByteRange> matches;
  switch (step.kind) {
    case Kind::kPrefixSpace:
      if (piece.front() != ' ') out.text += ' ';
      out.append(piece);
      return Status::success();
    case Kind::kToByteAlphabet:
      for (const char byte : piece) {
        append_utf8(out.text, kByteAlphabet.character[static_cast<uint8_t>(byte)]);
      }
      out.ends.push_back(out.text.size());
      return Status::success();
    case Kind::kDigits:
      matches = numeric_characters(piece);
      break;
    case Kind::kSplit:
      DOVETAIL_RETURN_IF_ERROR(step.pattern.front().find_all(piece, matches));
      break;
  }
  for (const ByteRange& range :
       apply_behavior(segments_of(piece, matches, step.invert), step.behavior)) {
    out.append(piece.substr(range.begin, range.end - range.begin));
  }
  return Status::success();
}

Result<Pieces> PreTokenizer::apply(std::string_view text) const {
  Pieces pieces;
  if (!text.empty()) pieces.append(text);
  for (const Step& step : steps_) {
    Pieces next;
    size_t begin = 0;
    for (const size_t end : pieces.ends) {
      const auto piece = std::string_view(pieces.text).substr(begin, end - begin);
      DOVETAIL_RETURN_IF_ERROR(apply_step(step, piece, next));
      begin = end;
    }
    pieces = std::move(next);
  }
  return pieces;
}

}  // namespace dovetail::tokenizer
