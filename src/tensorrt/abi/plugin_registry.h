// SPDX-License-Identifier: Apache-2.0
// The part of TensorRT's plugin registry that a library needs to register itself when a host only
// opens it with dlopen. Types that it never touches are void here. The virtual table changed
// between TensorRT 10 and 11; getInferLibVersion() tells which one.
#pragma once

#include <cstdint>

#include "tensorrt/interface.h"

namespace dovetail::tensorrt::abi {

using Creator = nvinfer1::IPluginCreatorInterface;

class RegistryV10 {
 public:
  virtual bool registerV2Creator(void* creator, const char* pluginNamespace) noexcept = 0;
  virtual void* const* getPluginCreatorList(std::int32_t* count) const noexcept = 0;
  virtual void* getPluginCreator(const char* name, const char* version,
                                 const char* pluginNamespace) noexcept = 0;
  virtual ~RegistryV10() noexcept = default;
  virtual void setErrorRecorder(void* recorder) noexcept = 0;
  virtual void* getErrorRecorder() const noexcept = 0;
  virtual bool deregisterV2Creator(const void* creator) noexcept = 0;
  virtual bool isParentSearchEnabled() const = 0;
  virtual void setParentSearchEnabled(bool enabled) = 0;
  virtual void* loadLibrary(const char* path) noexcept = 0;
  virtual void deregisterLibrary(void* handle) noexcept = 0;
  virtual bool registerCreator(Creator& creator, const char* pluginNamespace) noexcept = 0;
  virtual Creator* const* getAllCreators(std::int32_t* count) const noexcept = 0;
  virtual Creator* getCreator(const char* name, const char* version,
                              const char* pluginNamespace) noexcept = 0;
  virtual bool deregisterCreator(Creator const& creator) noexcept = 0;
};

class RegistryV11 {
 public:
  virtual ~RegistryV11() noexcept = default;
  virtual void setErrorRecorder(void* recorder) noexcept = 0;
  virtual void* getErrorRecorder() const noexcept = 0;
  virtual bool isParentSearchEnabled() const = 0;
  virtual void setParentSearchEnabled(bool enabled) = 0;
  virtual void* loadLibrary(const char* path) noexcept = 0;
  virtual void deregisterLibrary(void* handle) noexcept = 0;
  virtual bool registerCreator(Creator& creator, const char* pluginNamespace) noexcept = 0;
  virtual Creator* const* getAllCreators(std::int32_t* count) const noexcept = 0;
  virtual Creator* getCreator(const char* name, const char* version,
                              const char* pluginNamespace) noexcept = 0;
  virtual bool deregisterCreator(Creator const& creator) noexcept = 0;
};

}  // namespace dovetail::tensorrt::abi
