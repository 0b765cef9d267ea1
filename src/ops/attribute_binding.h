// SPDX-License-Identifier: Apache-2.0
// Ties declared attributes to the fields of an operator's attribute struct, in both directions.
#pragma once

#include <array>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "ops/schema.h"

namespace dovetail {

// A string attribute that stands for an enum: values[i] is the name of enumerator i.
template <class Struct>
struct EnumField {
  std::int32_t (*get)(const Struct&);
  void (*set)(Struct&, std::int32_t);
};

template <class Struct>
struct AttributeBinding {
  const char* name;
  std::variant<std::int32_t Struct::*, float Struct::*, EnumField<Struct>> field;
};

template <class Struct>
Result<Struct> parse_attributes(const OpSchema& schema,
                                std::span<const AttributeBinding<Struct>> bindings,
                                std::span<const Attribute> given) {
  Result<std::vector<Attribute>> complete = complete_attributes(schema, given);
  if (!complete.ok()) {
    return complete.status();
  }
  Struct parsed;
  for (std::size_t i = 0; i < bindings.size(); ++i) {
    const AttributeValue& value = (*complete)[i].value;
    const auto& field = bindings[i].field;
    if (const auto* integer = std::get_if<std::int32_t Struct::*>(&field)) {
      parsed.** integer = static_cast<std::int32_t>(std::get<std::int64_t>(value));
    } else if (const auto* real = std::get_if<float Struct::*>(&field)) {
      parsed.** real = static_cast<float>(std::get<double>(value));
    } else {
      const std::vector<std::string>& choices = schema.attributes[i].choices;
      const std::string& text = std::get<std::string>(value);
      std::int32_t index = 0;
      while (choices[static_cast<std::size_t>(index)] != text) {
        ++index;
      }
      std::get<EnumField<Struct>>(field).set(parsed, index);
    }
  }
  return parsed;
}

template <class Struct>
std::vector<Attribute> list_attributes(const OpSchema& schema,
                                       std::span<const AttributeBinding<Struct>> bindings,
                                       const Struct& values) {
  std::vector<Attribute> list;
  for (std::size_t i = 0; i < bindings.size(); ++i) {
    const auto& field = bindings[i].field;
    if (const auto* integer = std::get_if<std::int32_t Struct::*>(&field)) {
      list.push_back({bindings[i].name, static_cast<std::int64_t>(values.**integer)});
    } else if (const auto* real = std::get_if<float Struct::*>(&field)) {
      list.push_back({bindings[i].name, static_cast<double>(values.**real)});
    } else {
      const std::int32_t index = std::get<EnumField<Struct>>(field).get(values);
      const auto& choices = schema.attributes[i].choices;
      list.push_back({bindings[i].name, choices[static_cast<std::size_t>(index)]});
    }
  }
  return list;
}

}  // namespace dovetail
