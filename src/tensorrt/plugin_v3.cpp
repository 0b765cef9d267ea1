// SPDX-License-Identifier: Apache-2.0
#include "tensorrt/plugin_v3.h"

#include <vector>

#include "ops/message.h"
#include "tensorrt/format.h"
#include "tensorrt/logging.h"

namespace dovetail::tensorrt {
namespace {

constexpr std::int32_t kSuccess = 0;
constexpr std::int32_t kFailure = 1;

std::int32_t result(bool ok) {
  return ok ? kSuccess : kFailure;
}

}  // namespace

PluginV3::PluginV3(std::shared_ptr<const Operator> op, std::string plugin_namespace)
    : op_(std::move(op)),
      namespace_(std::move(plugin_namespace)),
      serialized_(op_->attributes(), /*with_state_version=*/true) {}

nvinfer1::IPluginCapability* PluginV3::getCapabilityInterface(
    nvinfer1::PluginCapabilityType type) noexcept {
  switch (type) {
    case nvinfer1::PluginCapabilityType::kCORE:
      return static_cast<nvinfer1::IPluginV3OneCore*>(this);
    case nvinfer1::PluginCapabilityType::kBUILD:
      return static_cast<BuildCapability*>(this);
    case nvinfer1::PluginCapabilityType::kRUNTIME:
      return static_cast<nvinfer1::IPluginV3OneRuntime*>(this);
  }
  return nullptr;
}

nvinfer1::IPluginV3* PluginV3::clone() noexcept {
  PluginV3* copy = nullptr;
  guarded("clone", [&] {
    copy = new PluginV3(op_, namespace_);
    copy->call_ = call_;
    return Status::success();
  });
  return copy;
}

const char* PluginV3::getPluginName() const noexcept {
  return op_->schema().name;
}
const char* PluginV3::getPluginVersion() const noexcept {
  return op_->schema().version;
}
const char* PluginV3::getPluginNamespace() const noexcept {
  return namespace_.c_str();
}

Result<std::size_t> PluginV3::workspace_bound(const nvinfer1::DynamicPluginTensorDesc* in,
                                              std::int32_t inputs) const {
  Result<std::vector<TensorDesc>> largest = largest_shapes(op_->schema(), in, inputs);
  return largest.ok() ? op_->workspace_bound(*std::move(largest))
                      : Result<std::size_t>(largest.status());
}

std::int32_t PluginV3::configurePlugin(const nvinfer1::DynamicPluginTensorDesc* in,
                                       std::int32_t inputs,
                                       const nvinfer1::DynamicPluginTensorDesc*,
                                       std::int32_t outputs) noexcept {
  return result(guarded("configurePlugin", [&]() -> Status {
    DOVETAIL_RETURN_IF_ERROR(check_counts(*op_, inputs, outputs));
    return workspace_bound(in, inputs).status();
  }));
}

std::int32_t PluginV3::getOutputDataTypes(nvinfer1::DataType* output_types, std::int32_t outputs,
                                          const nvinfer1::DataType* input_types,
                                          std::int32_t inputs) const noexcept {
  return result(guarded("getOutputDataTypes", [&]() -> Status {
    DOVETAIL_RETURN_IF_ERROR(check_counts(*op_, inputs, outputs));
    const std::vector<OutputRule> rules = op_->output_rules(3);
    for (std::size_t i = 0; i < rules.size(); ++i) {
      output_types[i] = input_types[rules[i].type_of_input];
    }
    return Status::success();
  }));
}

std::int32_t PluginV3::getOutputShapes(const nvinfer1::DimsExprs* in, std::int32_t inputs,
                                       const nvinfer1::DimsExprs*, std::int32_t,
                                       nvinfer1::DimsExprs* out, std::int32_t outputs,
                                       nvinfer1::IExprBuilder& builder) noexcept {
  return result(guarded("getOutputShapes", [&]() -> Status {
    DOVETAIL_RETURN_IF_ERROR(check_counts(*op_, inputs, outputs));
    for (std::int32_t i = 0; i < outputs; ++i) {
      DOVETAIL_RETURN_IF_ERROR(
          output_shape(*op_, static_cast<std::size_t>(i), in, builder, out[i]));
    }
    return Status::success();
  }));
}

bool PluginV3::supportsFormatCombination(std::int32_t position,
                                         const nvinfer1::DynamicPluginTensorDesc* in_out,
                                         std::int32_t inputs, std::int32_t outputs) noexcept {
  bool supported = false;
  guarded("supportsFormatCombination", [&]() -> Status {
    DOVETAIL_RETURN_IF_ERROR(check_counts(*op_, inputs, outputs));
    std::vector<nvinfer1::PluginTensorDesc> tensors;
    for (std::int32_t i = 0; i <= position; ++i) {
      tensors.push_back(in_out[i].desc);
    }
    supported = supports_format(*op_, tensors);
    return Status::success();
  });
  return supported;
}

std::int32_t PluginV3::getNbOutputs() const noexcept {
  return static_cast<std::int32_t>(op_->schema().outputs.size());
}

std::size_t PluginV3::getWorkspaceSize(const nvinfer1::DynamicPluginTensorDesc* in,
                                       std::int32_t inputs,
                                       const nvinfer1::DynamicPluginTensorDesc*,
                                       std::int32_t) const noexcept {
  std::size_t bytes = 0;
  guarded("getWorkspaceSize", [&]() -> Status {
    const Result<std::size_t> bound = workspace_bound(in, inputs);
    if (!bound.ok()) {
      return bound.status();
    }
    bytes = *bound;
    return Status::success();
  });
  return bytes;
}

std::int32_t PluginV3::getAliasedInput(std::int32_t output) noexcept {
  for (const AliasSpec& alias : op_->schema().aliases) {
    if (alias.output == output) {
      return alias.input;
    }
  }
  return -1;
}

std::int32_t PluginV3::onShapeChange(const nvinfer1::PluginTensorDesc* in, std::int32_t inputs,
                                     const nvinfer1::PluginTensorDesc*,
                                     std::int32_t outputs) noexcept {
  call_.reset();  // a refused shape must not run with the plan of the one before
  return result(guarded("onShapeChange", [&]() -> Status {
    DOVETAIL_RETURN_IF_ERROR(check_counts(*op_, inputs, outputs));
    Result<std::vector<TensorDesc>> shapes = actual_shapes(op_->schema(), in, inputs);
    if (!shapes.ok()) {
      return shapes.status();
    }
    Result<CudaDevice> device = current_device();
    if (!device.ok()) {
      return device.status();
    }
    Result<std::shared_ptr<const Call>> call = op_->plan(*shapes, *device);
    if (!call.ok()) {
      return call.status();
    }
    call_ = *std::move(call);
    return Status::success();
  }));
}

std::int32_t PluginV3::enqueue(const nvinfer1::PluginTensorDesc*, const nvinfer1::PluginTensorDesc*,
                               const void* const* inputs, void* const* outputs, void* workspace,
                               cudaStream_t stream) noexcept {
  return result(guarded("enqueue", [&]() -> Status {
    if (call_ == nullptr) {
      return internal_error(op_->schema().prefix, ": enqueue before onShapeChange");
    }
    return call_->run(inputs, outputs, workspace, stream);
  }));
}

nvinfer1::IPluginV3* PluginV3::attachToContext(nvinfer1::IPluginResourceContext*) noexcept {
  return clone();
}

const nvinfer1::PluginFieldCollection* PluginV3::getFieldsToSerialize() noexcept {
  return serialized_.collection();
}

}  // namespace dovetail::tensorrt
