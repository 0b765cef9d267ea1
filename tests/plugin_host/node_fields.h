// SPDX-License-Identifier: Apache-2.0
// Plugin fields as the ONNX parser makes them, and as an engine file keeps them (V3 state): text
// lines "name type count hex-bytes".
#pragma once

#include <cstring>
#include <sstream>
#include <string>
#include <vector>

#include "ops/schema.h"
#include "tensorrt/abi/plugin_interface.h"

namespace dovetail::plugin_host {

class NodeFields {
 public:
  explicit NodeFields(const std::vector<Attribute>& attributes) {
    for (const Attribute& attribute : attributes) {
      if (const auto* integer = std::get_if<std::int64_t>(&attribute.value)) {
        add(attribute.name, nvinfer1::PluginFieldType::kINT32, static_cast<std::int32_t>(*integer));
      } else if (const auto* real = std::get_if<double>(&attribute.value)) {
        add(attribute.name, nvinfer1::PluginFieldType::kFLOAT32, static_cast<float>(*real));
      } else {
        const auto& text = std::get<std::string>(attribute.value);
        all_.push_back({attribute.name, nvinfer1::PluginFieldType::kCHAR,
                        static_cast<std::int32_t>(text.size()), text});
      }
    }
  }
  explicit NodeFields(const nvinfer1::PluginFieldCollection& collection) {
    constexpr std::size_t kBytes[] = {2, 4, 8, 1, 2, 4, 1};
    for (std::int32_t i = 0; i < collection.nbFields; ++i) {
      const nvinfer1::PluginField& field = collection.fields[i];
      const std::size_t bytes =
          kBytes[static_cast<std::size_t>(field.type)] * static_cast<std::size_t>(field.length);
      all_.push_back({field.name, field.type, field.length,
                      std::string(static_cast<const char*>(field.data), bytes)});
    }
  }
  explicit NodeFields(const std::string& state) {
    std::istringstream lines(state);
    std::string name, hex;
    int type = 0;
    std::int32_t count = 0;
    while (lines >> name >> type >> count >> hex) {
      std::string bytes;
      for (std::size_t i = 0; i + 1 < hex.size(); i += 2) {
        bytes += static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16));
      }
      all_.push_back({name, static_cast<nvinfer1::PluginFieldType>(type), count, bytes});
    }
  }

  std::string state() const {
    std::ostringstream out;
    for (const Field& field : all_) {
      out << field.name << ' ' << static_cast<int>(field.type) << ' ' << field.count << ' ';
      for (const char c : field.bytes) {
        constexpr char kDigits[] = "0123456789abcdef";
        const auto byte = static_cast<unsigned char>(c);
        out << kDigits[byte >> 4] << kDigits[byte & 15];
      }
      out << '\n';
    }
    return out.str();
  }

  // Points into this object.
  const nvinfer1::PluginFieldCollection* collection() {
    fields_.clear();
    for (const Field& field : all_) {
      fields_.push_back({field.name.c_str(), field.bytes.data(), field.type, field.count});
    }
    collection_ = {static_cast<std::int32_t>(fields_.size()), fields_.data()};
    return &collection_;
  }

 private:
  struct Field {
    std::string name;
    nvinfer1::PluginFieldType type;
    std::int32_t count;
    std::string bytes;
  };
  template <class T>
  void add(const std::string& name, nvinfer1::PluginFieldType type, T value) {
    std::string bytes(sizeof value, '\0');
    std::memcpy(bytes.data(), &value, sizeof value);
    all_.push_back({name, type, 1, bytes});
  }

  std::vector<Field> all_;
  std::vector<nvinfer1::PluginField> fields_;
  nvinfer1::PluginFieldCollection collection_;
};

}  // namespace dovetail::plugin_host
