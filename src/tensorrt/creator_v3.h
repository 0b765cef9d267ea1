// SPDX-License-Identifier: Apache-2.0
// What the registry hands to ONNX parser and engine deserialiser: makes plugins from fields.
#pragma once

#include <string>

#include "tensorrt/fields.h"
#include "tensorrt/interface.h"

namespace dovetail::tensorrt {

class CreatorV3 final : public nvinfer1::IPluginCreatorV3One {
 public:
  CreatorV3(const OpSchema& schema, std::string plugin_namespace)
      : schema_(schema), namespace_(std::move(plugin_namespace)), fields_(schema) {}

  // Null when the fields are wrong; the reason is in the engine's log.
  nvinfer1::IPluginV3* createPlugin(const char* name, const nvinfer1::PluginFieldCollection* fields,
                                    nvinfer1::TensorRTPhase phase) noexcept override;
  const nvinfer1::PluginFieldCollection* getFieldNames() noexcept override {
    return fields_.collection();
  }
  const char* getPluginName() const noexcept override { return schema_.name; }
  const char* getPluginVersion() const noexcept override { return schema_.version; }
  const char* getPluginNamespace() const noexcept override { return namespace_.c_str(); }

 private:
  const OpSchema& schema_;
  std::string namespace_;
  FieldList fields_;
};

}  // namespace dovetail::tensorrt
