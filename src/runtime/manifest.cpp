// SPDX-License-Identifier: Apache-2.0
#include "runtime/manifest.h"

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>

#include "ops/message.h"

namespace dovetail {
namespace {

using Json = nlohmann::json;

constexpr std::int64_t kMaxSize = std::numeric_limits<std::int32_t>::max();

// A type as the manifest and the exporter's options write it.
const char* manifest_name(DataType type) {
  return type == DataType::kFloat8E4M3 ? "fp8" : name_of(type);
}

// Reads fields by name and keeps the first error; later reads give defaults.
class FieldReader {
 public:
  FieldReader(const Json& object, std::string where, Status* status)
      : object_(object), where_(std::move(where)), status_(status) {}

  std::int64_t integer(const char* name, std::int64_t low, std::int64_t high) {
    const Json* field = find(name);
    if (field == nullptr || !field->is_number_integer()) {
      return fail(name, field, "an integer"), low;
    }
    const bool too_large = field->is_number_unsigned() && field->get<std::uint64_t>() > kMaxSize;
    const auto value = too_large ? kMaxSize + 1 : field->get<std::int64_t>();
    if (value < low || value > high) {
      fail(name, field, concat("an integer from ", low, " to ", high));
    }
    return value;
  }

  std::string string(const char* name) {
    const Json* field = find(name);
    if (field == nullptr || !field->is_string()) {
      return fail(name, field, "a string"), "";
    }
    return field->get<std::string>();
  }

  bool boolean(const char* name) {
    const Json* field = find(name);
    if (field == nullptr || !field->is_boolean()) {
      return fail(name, field, "true or false"), false;
    }
    return field->get<bool>();
  }

  DataType type(const char* name, std::initializer_list<DataType> allowed) {
    const std::string text = string(name);
    std::string names;
    for (const DataType candidate : allowed) {
      if (text == manifest_name(candidate)) {
        return candidate;
      }
      names += concat(names.empty() ? "" : ", ", manifest_name(candidate));
    }
    fail(name, find(name), "one of " + names);
    return *allowed.begin();
  }

  FieldReader object(const char* name) {
    static const Json kEmpty = Json::object();
    const Json* field = find(name);
    const bool valid = field != nullptr && field->is_object();
    if (!valid) {
      fail(name, field, "an object");
    }
    return {valid ? *field : kEmpty, where_ + name + ".", status_};
  }

  std::vector<std::int32_t> token_ids(const char* name, std::int64_t vocab_size) {
    const Json* field = find(name);
    std::vector<std::int32_t> ids;
    bool valid = field != nullptr && field->is_array();
    if (valid) {
      for (const Json& item : *field) {
        valid = valid && item.is_number_unsigned() &&
                item.get<std::uint64_t>() < static_cast<std::uint64_t>(vocab_size);
        ids.push_back(valid ? item.get<std::int32_t>() : 0);
      }
    }
    if (!valid) {
      fail(name, field, concat("a list of token ids below vocab_size = ", vocab_size));
    }
    return ids;
  }

  std::optional<std::int32_t> optional_token_id(const char* name, std::int64_t vocab_size) {
    const Json* field = find(name);
    if (field == nullptr || field->is_null()) {
      return std::nullopt;
    }
    return static_cast<std::int32_t>(integer(name, 0, vocab_size - 1));
  }

  std::map<std::string, std::uint64_t> sizes(const char* name) {
    const Json* field = find(name);
    std::map<std::string, std::uint64_t> result;
    bool valid = field != nullptr && field->is_object();
    if (valid) {
      for (const auto& [file, bytes] : field->items()) {
        // A plain name: a package never reaches outside its folder.
        valid = valid && bytes.is_number_unsigned() && !file.empty() && file != ".." &&
                file.find('/') == std::string::npos;
        result[file] = valid ? bytes.get<std::uint64_t>() : 0;
      }
    }
    if (!valid) {
      fail(name, field, "an object of plain file names and sizes in bytes");
    }
    return result;
  }

 private:
  const Json* find(const char* name) const {
    const auto it = object_.find(name);
    return it == object_.end() ? nullptr : &*it;
  }

  void fail(const char* name, const Json* field, const std::string& expected) {
    if (status_->ok()) {
      *status_ = field == nullptr
                     ? data_loss(where_, name, " is missing, expected ", expected)
                     : data_loss(where_, name, " is ",
                                 field->dump(-1, ' ', true, Json::error_handler_t::replace),
                                 ", expected ", expected);
    }
  }

  const Json& object_;
  std::string where_;  // "path/manifest.json: model."
  Status* status_;
};

ModelFacts read_model(FieldReader fields) {
  ModelFacts model{.family = fields.string("family"),
                   .layers = fields.integer("layers", 1, 10'000),
                   .hidden_size = fields.integer("hidden_size", 1, kMaxSize),
                   .vocab_size = fields.integer("vocab_size", 1, kMaxSize),
                   .num_q_heads = fields.integer("num_q_heads", 1, kMaxSize),
                   .num_kv_heads = fields.integer("num_kv_heads", 1, kMaxSize),
                   .head_size = fields.integer("head_size", 1, kMaxSize)};
  model.rotary_width = fields.integer("rotary_width", 2, model.head_size);
  return model;
}

std::string read_weights(FieldReader fields) {
  const std::string format = fields.string("format");
  if (format != "int4") {
    return format;
  }
  return concat(format, " g", fields.integer("group_size", 1, kMaxSize), " ",
                fields.string("layout"));
}

Result<Manifest> read_manifest(const Json& json, const std::string& file) {
  if (json.value("format", Json()) != "dovetail-package") {
    return data_loss(file, ": format is not \"dovetail-package\"");
  }
  Status status;
  FieldReader fields(json, file + ": ", &status);
  Manifest m;
  m.version = fields.integer("version", 1, kMaxSize);
  DOVETAIL_RETURN_IF_ERROR(status);
  m.producer = fields.string("producer");
  DOVETAIL_RETURN_IF_ERROR(status);
  if (m.version > kPackageVersion) {
    return data_loss(file, ": the package has version ", m.version, " (written by ", m.producer,
                     "), but this runtime reads versions up to ", kPackageVersion);
  }
  m.engine = fields.string("engine");
  m.activation_type =
      fields.type("dtype", {DataType::kFloat32, DataType::kFloat16, DataType::kBFloat16});
  m.kv_type = fields.type("kv_dtype", {DataType::kFloat32, DataType::kFloat16, DataType::kBFloat16,
                                       DataType::kFloat8E4M3});
  m.capacity = fields.integer("capacity", 1, kMaxSize);
  m.max_batch = fields.integer("max_batch", 1, 4096);
  m.tree = fields.boolean("tree");
  m.model = read_model(fields.object("model"));
  m.weights = read_weights(fields.object("weights"));
  m.int4_weights = m.weights.starts_with("int4");
  m.bos_token_id = fields.optional_token_id("bos_token_id", m.model.vocab_size);
  m.eos_token_ids = fields.token_ids("eos_token_ids", m.model.vocab_size);
  m.file_bytes = fields.sizes("files");
  DOVETAIL_RETURN_IF_ERROR(status);
  return m;
}

}  // namespace

Result<Manifest> parse_manifest(std::string_view text, const std::string& file) {
  const Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  return json.is_object() ? read_manifest(json, file) : data_loss(file, ": not a JSON object");
}

Result<Manifest> parse_engine_config(std::string_view text, const std::string& file) {
  const Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object() || !json.contains("dovetail_package")) {
    return data_loss(file, ": not the configuration of an engine made by `dovetail build`");
  }
  Result<Manifest> manifest = read_manifest(json["dovetail_package"], file);
  if (!manifest.ok()) {
    return manifest;
  }
  Status status;
  FieldReader built = FieldReader(json, file + ": ", &status).object("builder_config");
  manifest->builder = built.string("engine");
  manifest->max_input = built.integer("max_input_len", 1, manifest->capacity);
  DOVETAIL_RETURN_IF_ERROR(status);
  return manifest;
}

}  // namespace dovetail
