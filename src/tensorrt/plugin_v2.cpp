// SPDX-License-Identifier: Apache-2.0
#include "tensorrt/plugin_v2.h"

#include <algorithm>
#include <cstring>

#include "tensorrt/format.h"
#include "tensorrt/logging.h"
#include "tensorrt/state_blob.h"

namespace dovetail::tensorrt {
namespace {

bool same_tensors(const std::vector<TensorDesc>& a, const std::vector<TensorDesc>& b) {
  return std::ranges::equal(a, b, [](const TensorDesc& x, const TensorDesc& y) {
    return x.type == y.type && x.shape == y.shape;
  });
}

}  // namespace

PluginV2::PluginV2(std::shared_ptr<const Operator> op, std::string plugin_namespace)
    : op_(std::move(op)),
      namespace_(std::move(plugin_namespace)),
      state_(encode_state(op_->schema(), op_->attributes())) {}

const char* PluginV2::getPluginType() const noexcept {
  return op_->schema().name;
}
const char* PluginV2::getPluginVersion() const noexcept {
  return op_->schema().version;
}
const char* PluginV2::getPluginNamespace() const noexcept {
  return namespace_.c_str();
}

void PluginV2::setPluginNamespace(const char* name) noexcept {
  guarded("setPluginNamespace", [&] {
    namespace_ = name == nullptr ? "" : name;
    return Status::success();
  });
}

std::int32_t PluginV2::getNbOutputs() const noexcept {
  return static_cast<std::int32_t>(op_->schema().outputs.size());
}

nvinfer1::IPluginV2DynamicExt* PluginV2::clone() const noexcept {
  PluginV2* copy = nullptr;
  guarded("clone", [&] {
    copy = new PluginV2(op_, namespace_);
    return Status::success();
  });
  return copy;
}

void PluginV2::serialize(void* buffer) const noexcept {
  std::memcpy(buffer, state_.data(), state_.size());
}

nvinfer1::DataType PluginV2::getOutputDataType(std::int32_t output,
                                               const nvinfer1::DataType* input_types,
                                               std::int32_t inputs) const noexcept {
  nvinfer1::DataType type = nvinfer1::DataType::kHALF;
  guarded("getOutputDataType", [&]() -> Status {
    DOVETAIL_RETURN_IF_ERROR(check_counts(*op_, inputs, getNbOutputs()));
    type = input_types[op_->output_rules(3)[static_cast<std::size_t>(output)].type_of_input];
    return Status::success();
  });
  return type;
}

nvinfer1::DimsExprs PluginV2::getOutputDimensions(std::int32_t output,
                                                  const nvinfer1::DimsExprs* in,
                                                  std::int32_t inputs,
                                                  nvinfer1::IExprBuilder& builder) noexcept {
  nvinfer1::DimsExprs shape{};
  const bool ok = guarded("getOutputDimensions", [&]() -> Status {
    DOVETAIL_RETURN_IF_ERROR(check_counts(*op_, inputs, getNbOutputs()));
    return output_shape(*op_, static_cast<std::size_t>(output), in, builder, shape);
  });
  if (!ok) {
    shape.nbDims = -1;
  }
  return shape;
}

bool PluginV2::supportsFormatCombination(std::int32_t position,
                                         const nvinfer1::PluginTensorDesc* in_out,
                                         std::int32_t inputs, std::int32_t outputs) noexcept {
  bool supported = false;
  guarded("supportsFormatCombination", [&]() -> Status {
    DOVETAIL_RETURN_IF_ERROR(check_counts(*op_, inputs, outputs));
    supported = supports_format(*op_, {in_out, static_cast<std::size_t>(position) + 1});
    return Status::success();
  });
  return supported;
}

void PluginV2::configurePlugin(const nvinfer1::DynamicPluginTensorDesc* in, std::int32_t inputs,
                               const nvinfer1::DynamicPluginTensorDesc*,
                               std::int32_t outputs) noexcept {
  guarded("configurePlugin", [&]() -> Status {
    DOVETAIL_RETURN_IF_ERROR(check_counts(*op_, inputs, outputs));
    Result<std::vector<TensorDesc>> largest = largest_shapes(op_->schema(), in, inputs);
    return largest.ok() ? op_->workspace_bound(*std::move(largest)).status() : largest.status();
  });
}

std::size_t PluginV2::getWorkspaceSize(const nvinfer1::PluginTensorDesc* in, std::int32_t inputs,
                                       const nvinfer1::PluginTensorDesc*,
                                       std::int32_t) const noexcept {
  std::size_t bytes = 0;
  guarded("getWorkspaceSize", [&]() -> Status {
    Result<std::vector<TensorDesc>> largest = actual_shapes(op_->schema(), in, inputs);
    if (!largest.ok()) {
      return largest.status();
    }
    const Result<std::size_t> bound = op_->workspace_bound(*std::move(largest));
    if (bound.ok()) {
      bytes = *bound;
    }
    return bound.status();
  });
  return bytes;
}

Result<std::shared_ptr<const Call>> PluginV2::call_for(const nvinfer1::PluginTensorDesc* in) {
  Result<std::vector<TensorDesc>> shapes = actual_shapes(op_->schema(), in, op_->input_count());
  if (!shapes.ok()) {
    return shapes.status();
  }
  const std::lock_guard lock(mutex_);
  if (call_ != nullptr && same_tensors(planned_shapes_, *shapes)) {
    return call_;
  }
  Result<CudaDevice> device = current_device();
  if (!device.ok()) {
    return device.status();
  }
  Result<std::shared_ptr<const Call>> call = op_->plan(*shapes, *device);
  if (call.ok()) {
    planned_shapes_ = *std::move(shapes);
    call_ = *call;
  }
  return call;
}

std::int32_t PluginV2::enqueue(const nvinfer1::PluginTensorDesc* in,
                               const nvinfer1::PluginTensorDesc*, const void* const* inputs,
                               void* const* outputs, void* workspace,
                               cudaStream_t stream) noexcept {
  const bool ok = guarded("enqueue", [&]() -> Status {
    const Result<std::shared_ptr<const Call>> call = call_for(in);
    return call.ok() ? (*call)->run(inputs, outputs, workspace, stream) : call.status();
  });
  return ok ? 0 : 1;
}

CreatorV2::CreatorV2(const OpSchema& schema) : schema_(schema), fields_(schema) {}

const nvinfer1::PluginFieldCollection* CreatorV2::getFieldNames() noexcept {
  return fields_.collection();
}

nvinfer1::IPluginV2* CreatorV2::createPlugin(
    const char*, const nvinfer1::PluginFieldCollection* fields) noexcept {
  return make_plugin("createPlugin",
                     [&] { return read_fields(schema_, fields, nvinfer1::TensorRTPhase::kBUILD); });
}

nvinfer1::IPluginV2* CreatorV2::deserializePlugin(const char*, const void* data,
                                                  std::size_t bytes) noexcept {
  return make_plugin("deserializePlugin", [&] {
    return decode_state(schema_, {static_cast<const char*>(data), bytes});
  });
}

template <class Read>
nvinfer1::IPluginV2* CreatorV2::make_plugin(const char* callback, Read read) noexcept {
  nvinfer1::IPluginV2* plugin = nullptr;
  guarded(callback, [&]() -> Status {
    const Result<std::vector<Attribute>> attributes = read();
    if (!attributes.ok()) {
      return attributes.status();
    }
    Result<std::shared_ptr<const Operator>> op = make_operator(schema_, *attributes);
    if (op.ok()) {
      plugin = new PluginV2(*op, namespace_);
    }
    return op.status();
  });
  return plugin;
}

}  // namespace dovetail::tensorrt
