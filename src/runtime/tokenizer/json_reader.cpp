// SPDX-License-Identifier: Apache-2.0
// See json_reader.h.
#include "runtime/tokenizer/json_reader.h"

namespace dovetail::tokenizer {
namespace {

[[noreturn]] void refuse_type(const Json& got, std::string_view where, std::string_view name,
                              const char* expected) {
  refuse_corrupt(where, ".", name, " is ", got.type_name(), ", expected ", expected);
}

}  // namespace

const Json* find_field(const Json& object, std::string_view name, std::string_view where) {
  if (!object.is_object()) {
    refuse_corrupt(where, " is ", object.type_name(), ", expected an object");
  }
  const auto found = object.find(name);
  return found == object.end() || found->is_null() ? nullptr : &*found;
}

const Json& require_field(const Json& object, std::string_view name, std::string_view where) {
  const Json* field = find_field(object, name, where);
  if (field == nullptr) refuse_corrupt(where, " has no field '", name, "'");
  return *field;
}

const Json& require_array(const Json& object, std::string_view name, std::string_view where) {
  const Json& field = require_field(object, name, where);
  if (!field.is_array()) refuse_type(field, where, name, "an array");
  return field;
}

const Json& require_object(const Json& object, std::string_view name, std::string_view where) {
  const Json& field = require_field(object, name, where);
  if (!field.is_object()) refuse_type(field, where, name, "an object");
  return field;
}

std::string require_string(const Json& object, std::string_view name, std::string_view where) {
  const Json& field = require_field(object, name, where);
  if (!field.is_string()) refuse_type(field, where, name, "a string");
  return field.get<std::string>();
}

bool bool_field(const Json& object, std::string_view name, bool missing, std::string_view where) {
  return find_field(object, name, where) == nullptr ? missing : require_bool(object, name, where);
}

bool require_bool(const Json& object, std::string_view name, std::string_view where) {
  const Json& field = require_field(object, name, where);
  if (!field.is_boolean()) refuse_type(field, where, name, "true or false");
  return field.get<bool>();
}

int32_t token_id_value(const Json& value, std::string_view where) {
  if (!value.is_number_integer()) {
    refuse_corrupt(where, " has an id of type ", value.type_name(), ", expected an integer");
  }
  const bool fits = value.is_number_unsigned() ? value.get<uint64_t>() <= kMaxTokenId : false;
  if (!fits) {
    refuse_corrupt(where, " has id ", value.dump(), ", expected 0 to ", kMaxTokenId);
  }
  return value.get<int32_t>();
}

std::string type_of(const Json& object, std::string_view where) {
  return require_string(object, "type", where);
}

}  // namespace dovetail::tokenizer
