// SPDX-License-Identifier: Apache-2.0
// Every operator of src/ops as a TensorRT IPluginV2DynamicExt, the interface that the guide names,
// for engines and stacks of TensorRT 8.6 to 10. V2 has no shape-change callback, so that enqueue
// keeps the plan of the last shapes; V2 cannot declare the KV aliasing, so that the call copies the
// past when an engine hands over two different buffers.
#pragma once

#include <memory>
#include <mutex>
#include <string>

#include "tensorrt/abi/plugin_interface_v2.h"
#include "tensorrt/fields.h"
#include "tensorrt/operator.h"

namespace dovetail::tensorrt {

class PluginV2 final : public nvinfer1::IPluginV2DynamicExt {
 public:
  PluginV2(std::shared_ptr<const Operator> op, std::string plugin_namespace);

  const char* getPluginType() const noexcept override;
  const char* getPluginVersion() const noexcept override;
  const char* getPluginNamespace() const noexcept override;
  void setPluginNamespace(const char* name) noexcept override;
  std::int32_t getNbOutputs() const noexcept override;
  std::int32_t initialize() noexcept override { return 0; }
  void terminate() noexcept override {}
  void destroy() noexcept override { delete this; }
  nvinfer1::IPluginV2DynamicExt* clone() const noexcept override;
  std::size_t getSerializationSize() const noexcept override { return state_.size(); }
  void serialize(void* buffer) const noexcept override;
  nvinfer1::DataType getOutputDataType(std::int32_t output, const nvinfer1::DataType* input_types,
                                       std::int32_t inputs) const noexcept override;
  nvinfer1::DimsExprs getOutputDimensions(std::int32_t output, const nvinfer1::DimsExprs* in,
                                          std::int32_t inputs,
                                          nvinfer1::IExprBuilder& builder) noexcept override;
  bool supportsFormatCombination(std::int32_t position, const nvinfer1::PluginTensorDesc* in_out,
                                 std::int32_t inputs, std::int32_t outputs) noexcept override;
  void configurePlugin(const nvinfer1::DynamicPluginTensorDesc* in, std::int32_t inputs,
                       const nvinfer1::DynamicPluginTensorDesc* out,
                       std::int32_t outputs) noexcept override;
  std::size_t getWorkspaceSize(const nvinfer1::PluginTensorDesc* in, std::int32_t inputs,
                               const nvinfer1::PluginTensorDesc* out,
                               std::int32_t outputs) const noexcept override;
  std::int32_t enqueue(const nvinfer1::PluginTensorDesc* in, const nvinfer1::PluginTensorDesc* out,
                       const void* const* inputs, void* const* outputs, void* workspace,
                       cudaStream_t stream) noexcept override;

 private:
  Result<std::shared_ptr<const Call>> call_for(const nvinfer1::PluginTensorDesc* in);

  std::shared_ptr<const Operator> op_;
  std::string namespace_;
  std::string state_;
  std::mutex mutex_;  // guards the two below: contexts of one engine may share a V2 plugin
  std::vector<TensorDesc> planned_shapes_;
  std::shared_ptr<const Call> call_;
};

class CreatorV2 final : public nvinfer1::IPluginCreator {
 public:
  explicit CreatorV2(const OpSchema& schema);

  const char* getPluginName() const noexcept override { return schema_.name; }
  const char* getPluginVersion() const noexcept override { return schema_.version; }
  const char* getPluginNamespace() const noexcept override { return namespace_.c_str(); }
  void setPluginNamespace(const char* name) noexcept override { namespace_ = name ? name : ""; }
  const nvinfer1::PluginFieldCollection* getFieldNames() noexcept override;
  nvinfer1::IPluginV2* createPlugin(
      const char* name, const nvinfer1::PluginFieldCollection* fields) noexcept override;
  nvinfer1::IPluginV2* deserializePlugin(const char* name, const void* data,
                                         std::size_t bytes) noexcept override;

 private:
  // A plugin from the attributes that `read` finds; null, and the reason logged, if they are wrong.
  template <class Read>
  nvinfer1::IPluginV2* make_plugin(const char* callback, Read read) noexcept;

  const OpSchema& schema_;
  std::string namespace_;
  FieldList fields_;
};

}  // namespace dovetail::tensorrt
