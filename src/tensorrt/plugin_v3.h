// SPDX-License-Identifier: Apache-2.0
// Every operator of src/ops as a TensorRT IPluginV3: core, build (with the KV cache output aliased
// to its input) and runtime capability in one object. Creating, configuring, cloning and
// serialising call no CUDA function; clones and attached contexts share the immutable operator, and
// each keeps its own planned call.
#pragma once

#include <memory>
#include <string>

#include "tensorrt/fields.h"
#include "tensorrt/operator.h"

namespace dovetail::tensorrt {

// The vendor's header names the build capability with aliasing v_2_0::IPluginV3OneBuild.
using BuildCapability = nvinfer1::IPluginV3OneBuildV2;

class PluginV3 final : public nvinfer1::IPluginV3,
                       public nvinfer1::IPluginV3OneCore,
                       public BuildCapability,
                       public nvinfer1::IPluginV3OneRuntime {
 public:
  PluginV3(std::shared_ptr<const Operator> op, std::string plugin_namespace);

  // IPluginV3
  nvinfer1::IPluginCapability* getCapabilityInterface(
      nvinfer1::PluginCapabilityType type) noexcept override;
  nvinfer1::IPluginV3* clone() noexcept override;

  // Core
  const char* getPluginName() const noexcept override;
  const char* getPluginVersion() const noexcept override;
  const char* getPluginNamespace() const noexcept override;

  // Build
  std::int32_t configurePlugin(const nvinfer1::DynamicPluginTensorDesc* in, std::int32_t inputs,
                               const nvinfer1::DynamicPluginTensorDesc* out,
                               std::int32_t outputs) noexcept override;
  std::int32_t getOutputDataTypes(nvinfer1::DataType* output_types, std::int32_t outputs,
                                  const nvinfer1::DataType* input_types,
                                  std::int32_t inputs) const noexcept override;
  std::int32_t getOutputShapes(const nvinfer1::DimsExprs* in, std::int32_t inputs,
                               const nvinfer1::DimsExprs* shape_in, std::int32_t shape_inputs,
                               nvinfer1::DimsExprs* out, std::int32_t outputs,
                               nvinfer1::IExprBuilder& builder) noexcept override;
  bool supportsFormatCombination(std::int32_t position,
                                 const nvinfer1::DynamicPluginTensorDesc* in_out,
                                 std::int32_t inputs, std::int32_t outputs) noexcept override;
  std::int32_t getNbOutputs() const noexcept override;
  std::size_t getWorkspaceSize(const nvinfer1::DynamicPluginTensorDesc* in, std::int32_t inputs,
                               const nvinfer1::DynamicPluginTensorDesc* out,
                               std::int32_t outputs) const noexcept override;
  std::int32_t getAliasedInput(std::int32_t output) noexcept override;

  // Runtime
  std::int32_t onShapeChange(const nvinfer1::PluginTensorDesc* in, std::int32_t inputs,
                             const nvinfer1::PluginTensorDesc* out,
                             std::int32_t outputs) noexcept override;
  std::int32_t enqueue(const nvinfer1::PluginTensorDesc* in, const nvinfer1::PluginTensorDesc* out,
                       const void* const* inputs, void* const* outputs, void* workspace,
                       cudaStream_t stream) noexcept override;
  nvinfer1::IPluginV3* attachToContext(nvinfer1::IPluginResourceContext* context) noexcept override;
  const nvinfer1::PluginFieldCollection* getFieldsToSerialize() noexcept override;

 private:
  Result<std::size_t> workspace_bound(const nvinfer1::DynamicPluginTensorDesc* in,
                                      std::int32_t inputs) const;

  std::shared_ptr<const Operator> op_;
  std::string namespace_;
  FieldList serialized_;
  std::shared_ptr<const Call> call_;  // for the shapes of the last onShapeChange
};

}  // namespace dovetail::tensorrt
