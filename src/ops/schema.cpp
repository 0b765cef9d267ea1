// SPDX-License-Identifier: Apache-2.0
#include "ops/schema.h"

#include <algorithm>

#include "ops/attention.h"
#include "ops/int4_gemm.h"
#include "ops/message.h"
#include "ops/residual_norm.h"
#include "ops/swiglu.h"

namespace dovetail {
namespace {

AttributeType type_of(const AttributeValue& value) {
  return static_cast<AttributeType>(value.index());
}

std::string text_of(const AttributeValue& value) {
  return std::visit([](const auto& v) { return concat(v); }, value);
}

Status check_value(const OpSchema& schema, const AttributeSpec& spec, const AttributeValue& value) {
  if (type_of(value) != spec.type) {
    return invalid_argument(schema.prefix, ": attribute ", spec.name, " is ",
                            name_of(type_of(value)), ", expected ", name_of(spec.type));
  }
  if (spec.type == AttributeType::kString) {
    if (std::ranges::find(spec.choices, std::get<std::string>(value)) == spec.choices.end()) {
      std::string list;
      for (const std::string& choice : spec.choices) {
        list += (list.empty() ? "" : ", ") + choice;
      }
      return invalid_argument(schema.prefix, ": attribute ", spec.name, " is \"", text_of(value),
                              "\", expected one of ", list);
    }
    return Status::success();
  }
  const double number = spec.type == AttributeType::kInt
                            ? static_cast<double>(std::get<std::int64_t>(value))
                            : std::get<double>(value);
  if (!(number >= spec.minimum)) {
    return invalid_argument(schema.prefix, ": attribute ", spec.name, " is ", text_of(value),
                            ", expected at least ", spec.minimum);
  }
  if (!(number <= 2147483647.0)) {
    return invalid_argument(schema.prefix, ": attribute ", spec.name, " is ", text_of(value),
                            ", expected at most 2147483647");
  }
  return Status::success();
}

}  // namespace

const char* name_of(AttributeType type) {
  switch (type) {
    case AttributeType::kInt:
      return "an integer";
    case AttributeType::kFloat:
      return "a float";
    case AttributeType::kString:
      return "a string";
  }
  return "unknown";
}

const AttributeSpec* OpSchema::find_attribute(std::string_view attribute_name) const {
  const auto name_of_spec = [](const AttributeSpec& a) { return std::string_view(a.name); };
  const auto it = std::ranges::find(attributes, attribute_name, name_of_spec);
  return it == attributes.end() ? nullptr : &*it;
}

std::span<const OpSchema* const> all_schemas() {
  static const OpSchema* const schemas[] = {&attention_schema(), &int4_gemm_schema(),
                                            &swiglu_schema(), &residual_norm_schema()};
  return schemas;
}

std::span<const OpSchema* const> plugin_schemas() {
  return all_schemas().first(2);
}

std::string type_list(std::uint32_t type_mask) {
  std::string list;
  for (unsigned bit = 0; bit <= static_cast<unsigned>(DataType::kInt64); ++bit) {
    if (type_mask & (1u << bit)) {
      list += (list.empty() ? "" : ", ") + std::string(name_of(static_cast<DataType>(bit)));
    }
  }
  return list;
}

Result<std::vector<Attribute>> complete_attributes(const OpSchema& schema,
                                                   std::span<const Attribute> given) {
  for (std::size_t i = 0; i < given.size(); ++i) {
    if (schema.find_attribute(given[i].name) == nullptr) {
      std::string list;
      for (const AttributeSpec& spec : schema.attributes) {
        list += (list.empty() ? "" : ", ") + std::string(spec.name);
      }
      return invalid_argument(schema.prefix, ": unknown attribute ", given[i].name,
                              ", expected one of ", list);
    }
    for (std::size_t j = 0; j < i; ++j) {
      if (given[j].name == given[i].name) {
        return invalid_argument(schema.prefix, ": attribute ", given[i].name, " is given twice");
      }
    }
  }
  std::vector<Attribute> complete;
  for (const AttributeSpec& spec : schema.attributes) {
    const auto it = std::ranges::find(given, std::string_view(spec.name), &Attribute::name);
    if (it == given.end()) {
      if (spec.required) {
        return invalid_argument(schema.prefix, ": attribute ", spec.name, " is missing, expected ",
                                name_of(spec.type));
      }
      complete.push_back({spec.name, spec.default_value});
      continue;
    }
    DOVETAIL_RETURN_IF_ERROR(check_value(schema, spec, it->value));
    complete.push_back(*it);
  }
  return complete;
}

bool may_equal(const Shape& got, const Shape& expected) {
  if (got.rank() == 0) {
    return true;
  }
  bool equal = got.rank() == expected.rank();
  for (int i = 0; equal && i < got.rank(); ++i) {
    equal = got[i] == expected[i] || got[i] < 0 || expected[i] < 0;
  }
  return equal;
}

Status check_type(const OpSchema& schema, const TensorSpec& spec, DataType got) {
  if ((spec.type_mask & type_bit(got)) == 0) {
    return invalid_argument(schema.prefix, ": ", spec.name, " is ", got, ", expected ",
                            type_list(spec.type_mask));
  }
  return Status::success();
}

Status check_rank(const OpSchema& schema, const TensorSpec& spec, const Shape& got, int rank) {
  if (got.rank() != rank) {
    return invalid_argument(schema.prefix, ": ", spec.name, " is ", got, ", expected ", spec.shape,
                            " (rank ", rank, ")");
  }
  return Status::success();
}

Status wrong_shape(const OpSchema& schema, const TensorSpec& spec, const Shape& got,
                   const Shape& expected) {
  return invalid_argument(schema.prefix, ": ", spec.name, " is ", got, ", expected ", spec.shape,
                          " = ", expected);
}

}  // namespace dovetail
