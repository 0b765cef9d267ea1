// SPDX-License-Identifier: Apache-2.0
// Corrupt and lying tokenizer.json files: cut short, with flipped bytes, with every field missing
// or of another type. Each either loads (and then works) or is refused in one sentence; the asan
// preset makes every stray access a failure. The mutations are the same in every run.
#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

#include "runtime/small_tokenizer.h"
#include "runtime/tokenizer/tokenizer.h"

namespace dovetail::tokenizer {
namespace {

using Json = nlohmann::json;

struct Outcome {
  int loaded = 0;
  int refused = 0;
};

void try_file(const std::string& text, const std::string& what, Outcome& outcome) {
  const auto tokenizer = Tokenizer::parse(text);
  if (!tokenizer.ok()) {
    ++outcome.refused;
    EXPECT_TRUE(tokenizer.status().message().starts_with("tokenizer.json: ")) << what;
    EXPECT_EQ(tokenizer.status().message().find('\n'), std::string::npos) << what;
    EXPECT_NE(tokenizer.status().code(), StatusCode::kOk) << what;
    return;
  }
  ++outcome.loaded;
  const auto ids = tokenizer->encode("the other <s> th\xC3\xA9 <tool> 12 \xFF", true);
  if (!ids.ok()) return;  // an unk_token that does not exist shows when it is needed
  Detokenizer detokenizer(*tokenizer, false);
  std::string joined;
  for (const int32_t id : *ids) joined += detokenizer.push(id);
  joined += detokenizer.finish();
  EXPECT_EQ(joined, tokenizer->decode(*ids, false)) << what;
}

TEST(CorruptTokenizer, CutShort) {
  const std::string whole = small_tokenizer_json().dump();
  Outcome outcome;
  for (int i = 0; i < 100; ++i) {
    const size_t length = whole.size() * i / 100;
    try_file(whole.substr(0, length), "cut to " + std::to_string(length), outcome);
  }
  EXPECT_EQ(outcome.refused, 100);
  try_file(whole, "whole", outcome);
  EXPECT_EQ(outcome.loaded, 1);
}

TEST(CorruptTokenizer, FlippedBytes) {
  const std::string whole = small_tokenizer_json().dump();
  std::mt19937 random(11);
  Outcome outcome;
  for (int i = 0; i < 150; ++i) {
    std::string text = whole;
    const size_t at = random() % text.size();
    text[at] = static_cast<char>(random() % 256);
    try_file(text, "byte " + std::to_string(at) + " changed", outcome);
  }
  EXPECT_GT(outcome.refused, 50);
}

// The path of every value, the vocabulary (of which the first entry stands for all) counted once.
void collect_paths(const Json& json, const Json::json_pointer& at,
                   std::vector<Json::json_pointer>& paths) {
  if (!at.empty()) paths.push_back(at);
  if (json.is_object()) {
    for (const auto& [key, value] : json.items()) {
      collect_paths(value, at / key, paths);
      if (!at.empty() && at.back() == "vocab") break;
    }
  } else if (json.is_array()) {
    for (size_t i = 0; i < json.size(); ++i) collect_paths(json[i], at / i, paths);
  }
}

TEST(CorruptTokenizer, EveryFieldMissingOrOfAnotherType) {
  const Json whole = small_tokenizer_json();
  std::vector<Json::json_pointer> paths;
  collect_paths(whole, Json::json_pointer(), paths);
  ASSERT_GT(paths.size(), 80u);
  const std::vector<Json> values = {nullptr, true,  -1,          1e300,         99999999999,   5,
                                    "",      "x y", "(unclosed", Json::array(), Json::object()};
  Outcome outcome;
  for (const auto& path : paths) {
    for (const Json& value : values) {
      Json changed = whole;
      changed[path] = value;
      try_file(changed.dump(), path.to_string() + " = " + value.dump(), outcome);
    }
    Json changed = whole;
    Json& parent = changed[path.parent_pointer()];
    if (parent.is_object()) {
      parent.erase(path.back());
    } else {
      parent.erase(std::stoul(path.back()));
    }
    try_file(changed.dump(), path.to_string() + " erased", outcome);
  }
  EXPECT_GT(outcome.refused, outcome.loaded);
}

TEST(CorruptTokenizer, NestedTooDeep) {
  Json json = small_tokenizer_json();
  const auto nested = [](const char* field, Json inner) {
    for (int i = 0; i < 1000; ++i) inner = {{"type", "Sequence"}, {field, Json::array({inner})}};
    return inner;
  };
  Outcome outcome;
  const std::vector<std::pair<const char*, const char*>> parts = {
      {"normalizer", "normalizers"},
      {"pre_tokenizer", "pretokenizers"},
      {"post_processor", "processors"},
      {"decoder", "decoders"}};
  for (const auto& [part, field] : parts) {
    Json changed = json;
    changed[part] = nested(field, json["decoder"]);
    try_file(changed.dump(), part, outcome);
  }
  try_file(std::string(1000000, '['), "brackets", outcome);
  EXPECT_EQ(outcome.refused, 5);
}

std::string message_for(const char* path, const Json& value) {
  Json json = small_tokenizer_json();
  json[Json::json_pointer(path)] = value;
  return Tokenizer::parse(json.dump()).status().message();
}

TEST(CorruptTokenizer, SaysWhereAndWhatWasExpected) {
  EXPECT_EQ(message_for("/model/type", "WordPiece"),
            "tokenizer.json: model is a WordPiece, supported is byte-level BPE");
  EXPECT_EQ(message_for("/model/merges/1", "th"),
            "tokenizer.json: model.merges[1] is 'th', expected two tokens and one space");
  EXPECT_EQ(message_for("/model/merges/1", "th x"),
            "tokenizer.json: model.merges[1] needs 'thx', which is not in the vocabulary");
  EXPECT_EQ(message_for("/model/vocab/he", 5000000),
            "tokenizer.json: model.vocab has id 5000000, expected 0 to 4194303");
  EXPECT_EQ(message_for("/model/vocab/he", 258),
            "tokenizer.json: model.vocab gives id 258 to both 'he' and 'Ġthe'");
  EXPECT_EQ(
      message_for("/added_tokens/1/id", 300),
      "tokenizer.json: added_tokens[1] '<tool>' has id 300, expected 261, the next free id, once");
  EXPECT_EQ(message_for("/added_tokens/1/special", "yes"),
            "tokenizer.json: added_tokens[1].special is string, expected true or false");
  EXPECT_EQ(message_for("/pre_tokenizer/pretokenizers/0/behavior", "Nearby"),
            "tokenizer.json: pre_tokenizer.pretokenizers.behavior is 'Nearby', expected Isolated, "
            "Removed, "
            "MergedWithPrevious, MergedWithNext or Contiguous");
  EXPECT_EQ(Tokenizer::parse("{\"version\": ").status().message(),
            "tokenizer.json: not valid JSON at byte 12 of 12");
}

}  // namespace
}  // namespace dovetail::tokenizer
