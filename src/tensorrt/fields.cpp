// SPDX-License-Identifier: Apache-2.0
#include "tensorrt/fields.h"

#include <cstring>
#include <string_view>

#include "ops/message.h"

namespace dovetail::tensorrt {
namespace {

using nvinfer1::PluginField;
using nvinfer1::PluginFieldType;

PluginFieldType field_type(AttributeType type) {
  switch (type) {
    case AttributeType::kInt:
      return PluginFieldType::kINT32;
    case AttributeType::kFloat:
      return PluginFieldType::kFLOAT32;
    case AttributeType::kString:
      return PluginFieldType::kCHAR;
  }
  return PluginFieldType::kUNKNOWN;
}

const char* name_of(PluginFieldType type) {
  constexpr const char* kNames[] = {"FLOAT16", "FLOAT32", "FLOAT64", "INT8", "INT16", "INT32",
                                    "CHAR",    "DIMS",    "UNKNOWN", "BF16", "INT64"};
  const auto index = static_cast<std::size_t>(type);
  return index < std::size(kNames) ? kNames[index] : "an unknown type";
}

template <class T>
T load(const PluginField& field) {
  T value;
  std::memcpy(&value, field.data, sizeof value);
  return value;
}

Result<Attribute> read_field(const OpSchema& schema, const PluginField& field) {
  const AttributeSpec* spec = schema.find_attribute(field.name);
  if (spec == nullptr || field.type != field_type(spec->type)) {
    if (spec == nullptr) {  // complete_attributes names it and lists the known ones
      return Attribute{field.name, std::int64_t{0}};
    }
    return invalid_argument(schema.prefix, ": field ", field.name, " is ", name_of(field.type),
                            ", expected ", name_of(field_type(spec->type)));
  }
  if (spec->type == AttributeType::kString) {
    const std::string_view text(static_cast<const char*>(field.data),
                                static_cast<std::size_t>(field.length));
    return Attribute{field.name, std::string(text.substr(0, text.find('\0')))};
  }
  if (field.length != 1) {
    return invalid_argument(schema.prefix, ": field ", field.name, " has ", field.length,
                            " values, expected 1");
  }
  if (spec->type == AttributeType::kInt) {
    return Attribute{field.name, static_cast<std::int64_t>(load<std::int32_t>(field))};
  }
  return Attribute{field.name, static_cast<double>(load<float>(field))};
}

Status check_state_version(const OpSchema& schema, const PluginField* field) {
  if (field == nullptr) {
    return data_loss(schema.prefix, ": serialised state has no field ", kStateVersionField,
                     ", expected version ", kStateVersion);
  }
  if (field->type != PluginFieldType::kINT32 || field->length != 1) {
    return data_loss(schema.prefix, ": serialised state has a corrupt field ", kStateVersionField,
                     ", expected one INT32");
  }
  const auto version = load<std::int32_t>(*field);
  if (version < 1 || version > kStateVersion) {
    return data_loss(schema.prefix, ": serialised state has version ", version,
                     ", expected at most ", kStateVersion,
                     "; rebuild the engine or update the library");
  }
  return Status::success();
}

}  // namespace

FieldList::FieldList(const std::vector<Attribute>& attributes, bool with_state_version) {
  for (const Attribute& attribute : attributes) {
    Value value{.name = attribute.name};
    PluginField field;
    if (const auto* integer = std::get_if<std::int64_t>(&attribute.value)) {
      value.integer = static_cast<std::int32_t>(*integer);
      field.type = PluginFieldType::kINT32;
    } else if (const auto* real = std::get_if<double>(&attribute.value)) {
      value.real = static_cast<float>(*real);
      field.type = PluginFieldType::kFLOAT32;
    } else {
      value.text = std::get<std::string>(attribute.value);
      field.type = PluginFieldType::kCHAR;
    }
    values_.push_back(std::move(value));
    fields_.push_back(field);
  }
  if (with_state_version) {
    values_.push_back({.name = kStateVersionField, .integer = kStateVersion});
    fields_.emplace_back().type = PluginFieldType::kINT32;
  }
  for (std::size_t i = 0; i < fields_.size(); ++i) {
    const bool text = fields_[i].type == PluginFieldType::kCHAR;
    fields_[i].data = text ? static_cast<const void*>(values_[i].text.data())
                      : fields_[i].type == PluginFieldType::kINT32
                          ? static_cast<const void*>(&values_[i].integer)
                          : static_cast<const void*>(&values_[i].real);
    fields_[i].length = text ? static_cast<std::int32_t>(values_[i].text.size()) : 1;
  }
  publish();
}

FieldList::FieldList(const OpSchema& schema) {
  for (const AttributeSpec& spec : schema.attributes) {
    values_.push_back({.name = spec.name});
    PluginField field;
    field.type = field_type(spec.type);
    field.length = 1;
    fields_.push_back(field);
  }
  publish();
}

void FieldList::publish() {
  for (std::size_t i = 0; i < fields_.size(); ++i) {
    fields_[i].name = values_[i].name.c_str();
  }
  collection_.nbFields = static_cast<std::int32_t>(fields_.size());
  collection_.fields = fields_.data();
}

Result<std::vector<Attribute>> read_fields(const OpSchema& schema,
                                           const nvinfer1::PluginFieldCollection* fields,
                                           nvinfer1::TensorRTPhase phase) {
  if (fields == nullptr || (fields->nbFields > 0 && fields->fields == nullptr)) {
    return invalid_argument(schema.prefix, ": no field collection, expected one");
  }
  std::vector<Attribute> attributes;
  const PluginField* state_version = nullptr;
  for (std::int32_t i = 0; i < fields->nbFields; ++i) {
    const PluginField& field = fields->fields[i];
    if (field.name == nullptr) {
      return invalid_argument(schema.prefix, ": field ", i, " has no name");
    }
    if (field.data == nullptr) {
      continue;
    }
    if (std::string_view(field.name) == kStateVersionField) {
      state_version = &field;
      continue;
    }
    Result<Attribute> attribute = read_field(schema, field);
    if (!attribute.ok()) {
      return attribute.status();
    }
    attributes.push_back(*std::move(attribute));
  }
  if (phase == nvinfer1::TensorRTPhase::kRUNTIME) {
    DOVETAIL_RETURN_IF_ERROR(check_state_version(schema, state_version));
  }
  return attributes;
}

}  // namespace dovetail::tensorrt
