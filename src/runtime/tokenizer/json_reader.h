// SPDX-License-Identifier: Apache-2.0
// Typed access to the fields of tokenizer.json. A wrong or missing field throws Refusal, which
// carries the finished Status; Tokenizer::parse() is the boundary that catches it, so that the
// parsing code reads as a list of fields. `where` is the object's path, such as "pre_tokenizer".
// Names are views, by value: GCC 13 takes a reference that a call returns for one into a temporary
// string that it was given by reference (-Wdangling-reference).
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "dovetail/status.h"
#include "ops/message.h"

namespace dovetail::tokenizer {

using Json = nlohmann::json;

struct Refusal {
  Status status;
};

// Sequence inside Sequence inside ... : a file that nests deeper than this is refused.
inline constexpr int kMaxNesting = 16;
// Larger ids than this only occur in corrupt files; the id table is sized by the largest id.
inline constexpr int64_t kMaxTokenId = (int64_t{1} << 22) - 1;

template <class... Parts>
[[noreturn]] void refuse_corrupt(const Parts&... parts) {
  throw Refusal{data_loss("tokenizer.json: ", parts...)};
}

template <class... Parts>
[[noreturn]] void refuse_unsupported(const Parts&... parts) {
  throw Refusal{unsupported("tokenizer.json: ", parts...)};
}

// The field, or nullptr when it is missing or null. `object` must be a JSON object.
const Json* find_field(const Json& object, std::string_view name, std::string_view where);
const Json& require_field(const Json& object, std::string_view name, std::string_view where);
const Json& require_array(const Json& object, std::string_view name, std::string_view where);
const Json& require_object(const Json& object, std::string_view name, std::string_view where);
std::string require_string(const Json& object, std::string_view name, std::string_view where);
bool bool_field(const Json& object, std::string_view name, bool missing, std::string_view where);
bool require_bool(const Json& object, std::string_view name, std::string_view where);

// `value` as a token id in [0, kMaxTokenId].
int32_t token_id_value(const Json& value, std::string_view where);

// The "type" field that names what kind of normalizer, model ... an object describes.
std::string type_of(const Json& object, std::string_view where);

}  // namespace dovetail::tokenizer
