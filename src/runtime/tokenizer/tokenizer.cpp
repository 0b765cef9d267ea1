// SPDX-License-Identifier: Apache-2.0
// See tokenizer.h. Tokenizer::parse is the boundary where the exceptions of the parsing code end.
#include "runtime/tokenizer/tokenizer.h"

#include <algorithm>
#include <limits>
#include <new>

#include "ops/message.h"
#include "runtime/memory_map.h"
#include "runtime/tokenizer/vocabulary.h"

namespace dovetail::tokenizer {
namespace {

Status encode_text(const Vocabulary& vocabulary, std::string_view text, std::vector<int32_t>& ids) {
  const Result<Pieces> pieces = vocabulary.pre_tokenizer.apply(text);
  if (!pieces.ok()) return pieces.status();
  size_t begin = 0;
  for (const size_t end : pieces->ends) {
    const auto piece = std::string_view(pieces->text).substr(begin, end - begin);
    DOVETAIL_RETURN_IF_ERROR(vocabulary.model.encode(piece, ids));
    begin = end;
  }
  return Status::success();
}

}  // namespace

Result<Tokenizer> Tokenizer::load(const std::string& path) {
  const Result<MemoryMap> file = MemoryMap::open(path);
  if (!file.ok()) return file.status();
  const std::span<const std::byte> bytes = file->bytes();
  Result<Tokenizer> tokenizer = parse({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
  if (!tokenizer.ok()) {
    return Status(tokenizer.status().code(), concat(path, ": ", tokenizer.status().message()));
  }
  return tokenizer;
}

Result<Tokenizer> Tokenizer::parse(std::string_view json) {
  try {
    return Tokenizer(std::make_shared<const Vocabulary>(read_tokenizer_file(json)));
  } catch (const Refusal& refusal) {
    return refusal.status;
  } catch (const Json::parse_error& error) {
    return data_loss("tokenizer.json: not valid JSON at byte ", std::min(error.byte, json.size()),
                     " of ", json.size());
  } catch (const Json::exception& error) {
    return data_loss("tokenizer.json: ", error.what());
  } catch (const std::bad_alloc&) {
    return resource_exhausted("tokenizer.json: not enough memory to load it");
  }
}

Result<std::vector<int32_t>> Tokenizer::encode(std::string_view text,
                                               bool add_special_tokens) const {
  if (text.size() > std::numeric_limits<int32_t>::max() / 8) {
    return invalid_argument("tokenizer: the text has ", text.size(), " bytes, expected at most ",
                            std::numeric_limits<int32_t>::max() / 8);
  }
  const std::string clean = replace_invalid_utf8(text);
  std::vector<int32_t> ids;
  for (const Section& raw : vocabulary_->added_tokens.split_raw(clean)) {
    if (raw.id >= 0) {
      ids.push_back(raw.id);
      continue;
    }
    const std::string normalized = vocabulary_->normalizer.apply(raw.text);
    for (const Section& section : vocabulary_->added_tokens.split_normalized(normalized)) {
      if (section.id >= 0) {
        ids.push_back(section.id);
      } else {
        DOVETAIL_RETURN_IF_ERROR(encode_text(*vocabulary_, section.text, ids));
      }
    }
  }
  if (add_special_tokens) ids = vocabulary_->post_processor.add_special_tokens(std::move(ids));
  return ids;
}

std::string Tokenizer::decode(std::span<const int32_t> ids, bool skip_special_tokens) const {
  std::string bytes;
  for (const int32_t id : ids) vocabulary_->append_bytes(id, skip_special_tokens, bytes);
  return replace_invalid_utf8(bytes);
}

std::optional<int32_t> Tokenizer::token_id(std::string_view token) const {
  if (const AddedToken* added = vocabulary_->added_tokens.find(token)) return added->id;
  return vocabulary_->model.token_id(token);
}

size_t Tokenizer::vocabulary_size() const {
  return std::max(vocabulary_->model.id_limit(), vocabulary_->added_tokens.id_limit());
}

std::string Detokenizer::push(int32_t id) {
  std::string bytes;
  vocabulary_->append_bytes(id, skip_special_tokens_, bytes);
  return stream_.push(bytes);
}

}  // namespace dovetail::tokenizer
