// SPDX-License-Identifier: Apache-2.0
// See added_tokens.h.
#include "runtime/tokenizer/added_tokens.h"

#include <algorithm>

#include "runtime/tokenizer/utf8.h"

namespace dovetail::tokenizer {
namespace {

bool starts_with_word(std::string_view text) {
  size_t at = 0;
  return !text.empty() && is_word(next_code_point(text, at));
}

size_t start_of_last_character(std::string_view text) {
  size_t at = text.size() - 1;
  while (at > 0 && (static_cast<uint8_t>(text[at]) & 0xC0) == 0x80) --at;
  return at;
}

bool ends_with_word(std::string_view text) {
  return !text.empty() && starts_with_word(text.substr(start_of_last_character(text)));
}

size_t length_without_trailing_space(std::string_view text) {
  while (!text.empty()) {
    const size_t begin = start_of_last_character(text);
    size_t at = begin;
    if (!is_whitespace(next_code_point(text, at))) break;
    text = text.substr(0, begin);
  }
  return text.size();
}

size_t leading_space(std::string_view text) {
  size_t length = 0;
  while (length < text.size()) {
    size_t at = length;
    if (!is_whitespace(next_code_point(text, at))) break;
    length = at;
  }
  return length;
}

AddedToken read_token(const Json& json, const Normalizer& normalizer, const std::string& where) {
  AddedToken token{
      .id = token_id_value(require_field(json, "id", where), where),
      .content = require_string(json, "content", where),
      .decoded = {},
      .single_word = require_bool(json, "single_word", where),
      .lstrip = require_bool(json, "lstrip", where),
      .rstrip = require_bool(json, "rstrip", where),
      .normalized = require_bool(json, "normalized", where),
      .special = require_bool(json, "special", where),
  };
  if (token.content.empty()) refuse_corrupt(where, ".content is empty");
  token.decoded = token.normalized ? normalizer.apply(token.content) : token.content;
  return token;
}

}  // namespace

void TokenTrie::add(std::string_view pattern, int32_t value) {
  size_t node = 0;
  for (const char byte : pattern) {
    const auto [child, is_new] = nodes_[node].children.try_emplace(
        static_cast<uint8_t>(byte), static_cast<int32_t>(nodes_.size()));
    node = static_cast<size_t>(child->second);
    if (is_new) nodes_.emplace_back();
  }
  if (nodes_[node].value < 0) nodes_[node].value = value;
}

TokenTrie::Match TokenTrie::longest_at(std::string_view text, size_t at) const {
  Match longest;
  const Node* node = &nodes_[0];
  for (size_t i = at; i < text.size(); ++i) {
    const auto child = node->children.find(static_cast<uint8_t>(text[i]));
    if (child == node->children.end()) break;
    node = &nodes_[static_cast<size_t>(child->second)];
    if (node->value >= 0) longest = {node->value, i + 1 - at};
  }
  return longest;
}

AddedTokens::AddedTokens(const Json& json, const BpeModel& model, const Normalizer& normalizer) {
  if (!json.is_array()) {
    refuse_corrupt("added_tokens is ", json.type_name(), ", expected an array");
  }
  for (const Json& entry : json) {
    const std::string where = concat("added_tokens[", tokens_.size(), "]");
    const AddedToken token = read_token(entry, normalizer, where);
    const auto in_model = model.token_id(token.content);
    const int32_t next_free = static_cast<int32_t>(std::max(model.size(), id_limit_));
    const int32_t expected = in_model.value_or(next_free);
    if (token.id != expected || find(token.content) != nullptr) {
      refuse_corrupt(where, " '", token.content, "' has id ", token.id, ", expected ", expected,
                     in_model ? " as in model.vocab, once" : ", the next free id, once");
    }
    const auto index = static_cast<int32_t>(tokens_.size());
    contents_.add(token.content, index);
    index_by_id_.emplace(token.id, tokens_.size());
    id_limit_ = std::max(id_limit_, static_cast<size_t>(token.id) + 1);
    (token.normalized ? normalized_ : raw_).add(token.decoded, index);
    tokens_.push_back(token);
  }
}

std::vector<Section> AddedTokens::split(std::string_view text, const TokenTrie& trie) const {
  std::vector<Section> sections;
  size_t done = 0;  // everything before is in a section; behind a rstrip it can be ahead of `at`
  for (size_t at = 0; at < text.size();) {
    const TokenTrie::Match match = trie.longest_at(text, at);
    if (match.value < 0) {
      ++at;
      continue;
    }
    size_t begin = at;
    size_t end = at + match.length;
    at = end;
    const AddedToken& token = tokens_[static_cast<size_t>(match.value)];
    if (token.single_word &&
        (ends_with_word(text.substr(0, begin)) || starts_with_word(text.substr(end)))) {
      continue;
    }
    if (token.lstrip) begin = std::max(done, length_without_trailing_space(text.substr(0, begin)));
    if (token.rstrip) end += leading_space(text.substr(end));
    if (done < begin) sections.push_back({-1, text.substr(done, begin - done)});
    sections.push_back({token.id, text.substr(begin, end - begin)});
    done = end;
  }
  if (done < text.size()) sections.push_back({-1, text.substr(done)});
  return sections;
}

const AddedToken* AddedTokens::find(int32_t id) const {
  const auto found = index_by_id_.find(id);
  return found == index_by_id_.end() ? nullptr : &tokens_[found->second];
}

const AddedToken* AddedTokens::find(std::string_view content) const {
  const TokenTrie::Match match = contents_.longest_at(content, 0);
  return match.value >= 0 && match.length == content.size()
             ? &tokens_[static_cast<size_t>(match.value)]
             : nullptr;
}

}  // namespace dovetail::tokenizer
