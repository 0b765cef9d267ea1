// SPDX-License-Identifier: Apache-2.0
// Attributes <-> TensorRT plugin fields. Integers are kINT32, reals kFLOAT32, strings kCHAR.
// Serialised state is the complete attribute list plus the field `dovetail_state_version`.
#pragma once

#include <string>
#include <vector>

#include "ops/schema.h"
#include "tensorrt/interface.h"

namespace dovetail::tensorrt {

inline constexpr std::int32_t kStateVersion = 1;
inline constexpr char kStateVersionField[] = "dovetail_state_version";

// Owns the values that a PluginFieldCollection points to. Not movable: fields point into it.
class FieldList {
 public:
  explicit FieldList(const std::vector<Attribute>& attributes, bool with_state_version);
  // The declaration without values, for a creator.
  explicit FieldList(const OpSchema& schema);
  FieldList(const FieldList&) = delete;
  FieldList& operator=(const FieldList&) = delete;

  const nvinfer1::PluginFieldCollection* collection() const { return &collection_; }

 private:
  struct Value {
    std::string name = {};
    std::int32_t integer = 0;
    float real = 0;
    std::string text = {};
  };
  void publish();

  std::vector<Value> values_;
  std::vector<nvinfer1::PluginField> fields_;
  nvinfer1::PluginFieldCollection collection_;
};

// The attributes that a host hands over. kRUNTIME demands a state version that this library reads.
// Fields without data (an ONNX node that leaves out an optional attribute) are taken as absent.
Result<std::vector<Attribute>> read_fields(const OpSchema& schema,
                                           const nvinfer1::PluginFieldCollection* fields,
                                           nvinfer1::TensorRTPhase phase);

}  // namespace dovetail::tensorrt
