// SPDX-License-Identifier: Apache-2.0
// The part of TensorRT's plugin registry that a library needs to register itself when a host only opens it
// with dlopen. The virtual table changed between TensorRT 10 and 11; getInferLibVersion() tells which one.
#pragma once

#include "tensorrt/abi/plugin_interface.h"

namespace nvinfer1 {

class IErrorRecorder;
class IPluginCreator;
class IPluginResource;

class RegistryV10 {
 public:
  virtual bool registerV2Creator(IPluginCreator& creator, AsciiChar const* pluginNamespace) noexcept = 0;
  virtual IPluginCreator* const* getPluginCreatorList(std::int32_t* count) const noexcept = 0;
  virtual IPluginCreator* getPluginCreator(AsciiChar const* name, AsciiChar const* version,
                                           AsciiChar const* pluginNamespace) noexcept = 0;
  virtual ~RegistryV10() noexcept = default;
  virtual void setErrorRecorder(IErrorRecorder* recorder) noexcept = 0;
  virtual IErrorRecorder* getErrorRecorder() const noexcept = 0;
  virtual bool deregisterV2Creator(IPluginCreator const& creator) noexcept = 0;
  virtual bool isParentSearchEnabled() const = 0;
  virtual void setParentSearchEnabled(bool enabled) = 0;
  virtual void* loadLibrary(AsciiChar const* path) noexcept = 0;
  virtual void deregisterLibrary(void* handle) noexcept = 0;
  virtual bool registerCreator(IPluginCreatorInterface& creator,
                               AsciiChar const* pluginNamespace) noexcept = 0;
  virtual IPluginCreatorInterface* const* getAllCreators(std::int32_t* count) const noexcept = 0;
  virtual IPluginCreatorInterface* getCreator(AsciiChar const* name, AsciiChar const* version,
                                              AsciiChar const* pluginNamespace) noexcept = 0;
  virtual bool deregisterCreator(IPluginCreatorInterface const& creator) noexcept = 0;
};

class RegistryV11 {
 public:
  virtual ~RegistryV11() noexcept = default;
  virtual void setErrorRecorder(IErrorRecorder* recorder) noexcept = 0;
  virtual IErrorRecorder* getErrorRecorder() const noexcept = 0;
  virtual bool isParentSearchEnabled() const = 0;
  virtual void setParentSearchEnabled(bool enabled) = 0;
  virtual void* loadLibrary(AsciiChar const* path) noexcept = 0;
  virtual void deregisterLibrary(void* handle) noexcept = 0;
  virtual bool registerCreator(IPluginCreatorInterface& creator,
                               AsciiChar const* pluginNamespace) noexcept = 0;
  virtual IPluginCreatorInterface* const* getAllCreators(std::int32_t* count) const noexcept = 0;
  virtual IPluginCreatorInterface* getCreator(AsciiChar const* name, AsciiChar const* version,
                                              AsciiChar const* pluginNamespace) noexcept = 0;
  virtual bool deregisterCreator(IPluginCreatorInterface const& creator) noexcept = 0;
};

}  // namespace nvinfer1
