// SPDX-License-Identifier: Apache-2.0
// Our declaration of the older plugin interface, IPluginV2DynamicExt and IPluginCreator: the order
// of virtual functions is TensorRT's binary interface, 8.6 (DOVETAIL_TENSORRT_ABI 8) or 10 (the
// default). Functions that TensorRT never calls on a dynamic-shape plugin stand here for their
// place in the table.
#pragma once

#include "tensorrt/abi/plugin_interface.h"

struct cublasContext;
struct cudnnContext;

namespace nvinfer1 {

class IGpuAllocator;

class IPluginV2 {
 public:
  virtual std::int32_t getTensorRTVersion() const noexcept = 0;
  virtual AsciiChar const* getPluginType() const noexcept = 0;
  virtual AsciiChar const* getPluginVersion() const noexcept = 0;
  virtual std::int32_t getNbOutputs() const noexcept = 0;
  virtual Dims getOutputDimensions(std::int32_t, Dims const*, std::int32_t) noexcept = 0;
  virtual bool supportsFormat(DataType, TensorFormat) const noexcept = 0;
  virtual void configureWithFormat(Dims const*, std::int32_t, Dims const*, std::int32_t, DataType,
                                   TensorFormat, std::int32_t) noexcept = 0;
  virtual std::int32_t initialize() noexcept = 0;
  virtual void terminate() noexcept = 0;
  virtual std::size_t getWorkspaceSize(std::int32_t) const noexcept = 0;
  virtual std::int32_t enqueue(std::int32_t, void const* const*, void* const*, void*,
                               cudaStream_t) noexcept = 0;
  virtual std::size_t getSerializationSize() const noexcept = 0;
  virtual void serialize(void* buffer) const noexcept = 0;
  virtual void destroy() noexcept = 0;
  virtual IPluginV2* clone() const noexcept = 0;
  virtual void setPluginNamespace(AsciiChar const* name) noexcept = 0;
  virtual AsciiChar const* getPluginNamespace() const noexcept = 0;
  virtual ~IPluginV2() noexcept = default;
};

class IPluginV2Ext : public IPluginV2 {
 public:
  virtual DataType getOutputDataType(std::int32_t index, DataType const* inputTypes,
                                     std::int32_t inputs) const noexcept = 0;
  virtual bool isOutputBroadcastAcrossBatch(std::int32_t, bool const*,
                                            std::int32_t) const noexcept = 0;
  virtual bool canBroadcastInputAcrossBatch(std::int32_t) const noexcept = 0;
  virtual void configurePlugin(Dims const*, std::int32_t, Dims const*, std::int32_t,
                               DataType const*, DataType const*, bool const*, bool const*,
                               TensorFormat, std::int32_t) noexcept = 0;
  virtual void attachToContext(cudnnContext*, cublasContext*, IGpuAllocator*) noexcept {}
  virtual void detachFromContext() noexcept {}
  void configureWithFormat(Dims const*, std::int32_t, Dims const*, std::int32_t, DataType,
                           TensorFormat, std::int32_t) noexcept override {}
};

class IPluginV2DynamicExt : public IPluginV2Ext {
 public:
  virtual DimsExprs getOutputDimensions(std::int32_t output, DimsExprs const* inputs,
                                        std::int32_t count, IExprBuilder& builder) noexcept = 0;
  virtual bool supportsFormatCombination(std::int32_t pos, PluginTensorDesc const* inOut,
                                         std::int32_t inputs, std::int32_t outputs) noexcept = 0;
  virtual void configurePlugin(DynamicPluginTensorDesc const* in, std::int32_t inputs,
                               DynamicPluginTensorDesc const* out,
                               std::int32_t outputs) noexcept = 0;
  virtual std::size_t getWorkspaceSize(PluginTensorDesc const* in, std::int32_t inputs,
                                       PluginTensorDesc const* out,
                                       std::int32_t outputs) const noexcept = 0;
  virtual std::int32_t enqueue(PluginTensorDesc const* in, PluginTensorDesc const* out,
                               void const* const* inputs, void* const* outputs, void* workspace,
                               cudaStream_t stream) noexcept = 0;

  // The interface kind in the top byte, the TensorRT version below it.
  std::int32_t getTensorRTVersion() const noexcept override {
    return 3 << 24 | (DOVETAIL_TENSORRT_ABI == 8 ? 8601 : 100300);
  }
  Dims getOutputDimensions(std::int32_t, Dims const*, std::int32_t) noexcept final {
    return {-1, {}};
  }
  bool supportsFormat(DataType, TensorFormat) const noexcept final { return false; }
  std::size_t getWorkspaceSize(std::int32_t) const noexcept final { return 0; }
  std::int32_t enqueue(std::int32_t, void const* const*, void* const*, void*,
                       cudaStream_t) noexcept final {
    return 1;
  }
  bool isOutputBroadcastAcrossBatch(std::int32_t, bool const*, std::int32_t) const noexcept final {
    return false;
  }
  bool canBroadcastInputAcrossBatch(std::int32_t) const noexcept final { return false; }
  void configurePlugin(Dims const*, std::int32_t, Dims const*, std::int32_t, DataType const*,
                       DataType const*, bool const*, bool const*, TensorFormat,
                       std::int32_t) noexcept final {}
};

#if DOVETAIL_TENSORRT_ABI == 8
class IPluginCreator {
 public:
  virtual std::int32_t getTensorRTVersion() const noexcept { return 8601; }
#else
class IPluginCreator : public IPluginCreatorInterface {
 public:
  InterfaceInfo getInterfaceInfo() const noexcept override { return {"PLUGIN CREATOR_V1", 1, 0}; }
#endif
  virtual AsciiChar const* getPluginName() const noexcept = 0;
  virtual AsciiChar const* getPluginVersion() const noexcept = 0;
  virtual PluginFieldCollection const* getFieldNames() noexcept = 0;
  virtual IPluginV2* createPlugin(AsciiChar const* name,
                                  PluginFieldCollection const* fields) noexcept = 0;
  virtual IPluginV2* deserializePlugin(AsciiChar const* name, void const* data,
                                       std::size_t bytes) noexcept = 0;
  virtual void setPluginNamespace(AsciiChar const* name) noexcept = 0;
  virtual AsciiChar const* getPluginNamespace() const noexcept = 0;
#if DOVETAIL_TENSORRT_ABI == 8
  virtual ~IPluginCreator() = default;
#endif
};

}  // namespace nvinfer1
