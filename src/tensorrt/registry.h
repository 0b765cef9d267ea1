// SPDX-License-Identifier: Apache-2.0
// The process's TensorRT plugin registry, if TensorRT is loaded. Hides that its virtual table
// differs between TensorRT 10 and 11.
#pragma once

#include <optional>
#include <span>
#include <string>

#include "tensorrt/interface.h"

namespace dovetail::tensorrt {

class Registry {
 public:
  // Empty when there is no registry or its version is unknown to this library.
  static std::optional<Registry> find() noexcept;

  bool has(const char* plugin_name, const std::string& plugin_namespace = "") const noexcept;
  bool add(std::span<nvinfer1::IPluginCreatorInterface* const> creators,
           const std::string& plugin_namespace) const noexcept;
  void remove(std::span<nvinfer1::IPluginCreatorInterface* const> creators) const noexcept;

 private:
  Registry(void* registry, int major) : registry_(registry), major_(major) {}

  void* registry_;
  int major_;
};

}  // namespace dovetail::tensorrt
