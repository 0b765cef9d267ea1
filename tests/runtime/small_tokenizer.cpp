// SPDX-License-Identifier: Apache-2.0
// See small_tokenizer.h.
#include "runtime/small_tokenizer.h"

#include <string>

#include "runtime/tokenizer/byte_alphabet.h"
#include "runtime/tokenizer/utf8.h"

namespace dovetail::tokenizer {

using Json = nlohmann::json;

Json small_tokenizer_json() {
  Json vocabulary;
  for (int byte = 0; byte < 256; ++byte) {
    std::string character;
    append_utf8(character, kByteAlphabet.character[byte]);
    vocabulary[character] = byte;
  }
  vocabulary["th"] = kTh;
  vocabulary["the"] = kThe;
  vocabulary["Ġthe"] = kSpaceThe;
  vocabulary["he"] = kHe;
  const auto added = [](const char* content, int32_t id, bool special) {
    return Json{{"id", id},        {"content", content},  {"single_word", false}, {"lstrip", false},
                {"rstrip", false}, {"normalized", false}, {"special", special}};
  };
  const Json byte_level = {{"type", "ByteLevel"},
                           {"add_prefix_space", false},
                           {"trim_offsets", true},
                           {"use_regex", false}};
  const Json split = {{"type", "Split"},
                      {"pattern", {{"Regex", R"( ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+)"}}},
                      {"behavior", "Isolated"},
                      {"invert", false}};
  Json begin_piece = {{"SpecialToken", {{"id", "<s>"}, {"type_id", 0}}}};
  Json text_piece = {{"Sequence", {{"id", "A"}, {"type_id", 0}}}};
  Json begin_token = {{"id", "<s>"}, {"ids", {kBegin}}, {"tokens", {"<s>"}}};
  return {
      {"version", "1.0"},
      {"truncation", nullptr},
      {"padding", nullptr},
      {"added_tokens", {added("<s>", kBegin, true), added("<tool>", kTool, false)}},
      {"normalizer", {{"type", "Sequence"}, {"normalizers", {{{"type", "NFC"}}}}}},
      {"pre_tokenizer", {{"type", "Sequence"}, {"pretokenizers", {split, byte_level}}}},
      {"post_processor",
       {{"type", "Sequence"},
        {"processors",
         {byte_level,
          {{"type", "TemplateProcessing"},
           {"single", {begin_piece, text_piece}},
           {"pair", Json::array()},
           {"special_tokens", {{"<s>", begin_token}}}}}}}},
      {"decoder", byte_level},
      {"model",
       {{"type", "BPE"},
        {"dropout", nullptr},
        {"unk_token", nullptr},
        {"continuing_subword_prefix", nullptr},
        {"end_of_word_suffix", nullptr},
        {"fuse_unk", false},
        {"byte_fallback", false},
        {"ignore_merges", false},
        {"vocab", vocabulary},
        {"merges", {"t h", "th e", "Ġ the", "h e"}}}},
  };
}

}  // namespace dovetail::tokenizer
