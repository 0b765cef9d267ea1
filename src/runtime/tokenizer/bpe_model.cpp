// SPDX-License-Identifier: Apache-2.0
// See bpe_model.h. The symbols of a piece are a doubly linked list in an array; a heap holds the
// candidate merges. An entry goes stale when one of its symbols was merged in the meantime; it is
// recognised because the pair that now starts at its position has another result.
#include "runtime/tokenizer/bpe_model.h"

#include <algorithm>
#include <queue>

#include "runtime/tokenizer/utf8.h"

namespace dovetail::tokenizer {
namespace {

bool is_set(const Json* field) {
  if (field == nullptr) return false;
  if (field->is_string()) return !field->get_ref<const std::string&>().empty();
  if (field->is_number()) return field->get<double>() != 0.0;
  return !field->is_boolean() || field->get<bool>();
}

}  // namespace

BpeModel::BpeModel(const TokenizerFile& file) {
  const Json& json = require_object(file.json, "model", "the file");
  const Json* type = find_field(json, "type", "model");  // files before version 0.9 leave it out
  if (type != nullptr && *type != "BPE") {
    refuse_unsupported("model is a ", type_of(json, "model"), ", supported is byte-level BPE");
  }
  for (const char* option :
       {"dropout", "continuing_subword_prefix", "end_of_word_suffix", "byte_fallback"}) {
    if (is_set(find_field(json, option, "model"))) {
      refuse_unsupported("model.", option, " is set, supported is BPE without it");
    }
  }
  if (find_field(json, "unk_token", "model") != nullptr) {
    unk_token_ = require_string(json, "unk_token", "model");
  }
  fuse_unk_ = bool_field(json, "fuse_unk", false, "model");
  ignore_merges_ = bool_field(json, "ignore_merges", false, "model");
  require_object(json, "vocab", "model");
  read_vocabulary(file);
  read_merges(json);
}

void BpeModel::read_vocabulary(const TokenizerFile& file) {
  int32_t largest = -1;
  for (const auto& [token, id] : file.vocabulary) largest = std::max(largest, id);
  tokens_ = TokenTable(file.vocabulary.size(), static_cast<size_t>(largest + 1));
  for (const auto& [token, id] : file.vocabulary) {
    if (!tokens_.add(token, id)) {
      refuse_corrupt("model.vocab gives id ", id, " to both '", *tokens_.text(id), "' and '", token,
                     "'");
    }
    size_t at = 0;
    if (token.empty()) continue;
    const char32_t character = next_code_point(token, at);
    if (at == token.size() && character < kByteAlphabetEnd) byte_ids_[character] = id;
  }
}

void BpeModel::read_merges(const Json& json) {
  const Json& merges = require_array(json, "merges", "model");
  merges_ = MergeTable(merges.size());
  uint32_t rank = 0;
  for (const Json& merge : merges) {
    if (merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string()) {
      add_merge(merge[0].get_ref<const std::string&>(), merge[1].get_ref<const std::string&>(),
                rank++);
      continue;
    }
    if (!merge.is_string()) {
      refuse_corrupt("model.merges[", rank, "] is neither a pair nor a string");
    }
    const std::string_view text = merge.get_ref<const std::string&>();
    if (text.starts_with("#version")) continue;
    const size_t space = text.find(' ');
    if (space == text.npos || text.find(' ', space + 1) != text.npos) {
      refuse_corrupt("model.merges[", rank, "] is '", text, "', expected two tokens and one space");
    }
    add_merge(text.substr(0, space), text.substr(space + 1), rank++);
  }
}

void BpeModel::add_merge(std::string_view left, std::string_view right, uint32_t rank) {
  const auto known = [&](std::string_view token) {
    const auto id = token_id(token);
    if (!id)
      refuse_corrupt("model.merges[", rank, "] needs '", token,
                     "', which is not in the vocabulary");
    return *id;
  };
  const int32_t merged = known(std::string(left).append(right));
  merges_.add(known(left), known(right), {rank, merged});
}

Status BpeModel::characters(std::string_view piece, std::vector<Symbol>& symbols) const {
  symbols.reserve(piece.size());
  const auto add = [&symbols](int32_t id) {
    const auto at = static_cast<int32_t>(symbols.size());
    if (at > 0) symbols.back().next = at;
    symbols.push_back({.id = id, .previous = at - 1});
  };
  bool after_unknown = false;
  for (size_t at = 0; at < piece.size();) {
    const size_t begin = at;
    const char32_t character = next_code_point(piece, at);
    const auto id =
        character < kByteAlphabetEnd
            ? (byte_ids_[character] < 0 ? std::nullopt : std::optional(byte_ids_[character]))
            : token_id(piece.substr(begin, at - begin));
    if (id) {
      add(*id);
    } else if (!unk_token_.empty() && !(fuse_unk_ && after_unknown)) {
      const auto unknown = token_id(unk_token_);
      if (!unknown) {
        return data_loss(
            "tokenizer.json: a character is not in the vocabulary, and neither is model.unk_token "
            "'",
            unk_token_, "' that should stand for it");
      }
      add(*unknown);
    }
    after_unknown = !id;
  }
  return Status::success();
}

void BpeModel::merge_pairs(std::vector<Symbol>& symbols) const {
  struct Candidate {
    uint32_t rank;
    int32_t position;
    int32_t id;
    bool operator<(
        const Candidate& other) const {  // the top of the heap is the lowest rank, leftmost
      return rank != other.rank ? rank > other.rank : position > other.position;
    }
  };
  std::vector<Candidate> candidates;
  candidates.reserve(symbols.size());
  const auto candidate_at = [&](int32_t position) -> std::optional<Candidate> {
    if (position < 0 || symbols[position].next < 0) return std::nullopt;
    const Merge* merge = merges_.find(symbols[position].id, symbols[symbols[position].next].id);
    if (merge == nullptr) return std::nullopt;
    return Candidate{merge->rank, position, merge->id};
  };
  for (int32_t i = 0; i < static_cast<int32_t>(symbols.size()); ++i) {
    if (const auto candidate = candidate_at(i)) candidates.push_back(*candidate);
  }
  std::priority_queue<Candidate> queue(std::less<Candidate>(), std::move(candidates));
  while (!queue.empty()) {
    const Candidate top = queue.top();
    queue.pop();
    Symbol& left = symbols[top.position];
    if (left.merged_away) continue;
    const auto current = candidate_at(top.position);
    if (!current || current->id != top.id) continue;
    Symbol& right = symbols[left.next];
    left.id = top.id;
    left.next = right.next;
    right.merged_away = true;
    if (left.next >= 0) symbols[left.next].previous = top.position;
    for (const int32_t position : {left.previous, top.position}) {
      if (const auto candidate = candidate_at(position)) queue.push(*candidate);
    }
  }
}

Status BpeModel::encode(std::string_view piece, std::vector<int32_t>& ids) const {
  if (ignore_merges_) {
    if (const auto id = token_id(piece)) {
      ids.push_back(*id);
      return Status::success();
    }
  }
  std::vector<Symbol> symbols;
  DOVETAIL_RETURN_IF_ERROR(characters(piece, symbols));
  merge_pairs(symbols);
  for (const Symbol& symbol : symbols) {
    if (!symbol.merged_away) ids.push_back(symbol.id);
  }
  return Status::success();
}

}  // namespace dovetail::tokenizer
