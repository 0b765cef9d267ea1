// SPDX-License-Identifier: Apache-2.0
#include "onnxruntime/node.h"

#include <array>
#include <optional>

#include "onnxruntime/status.h"

namespace dovetail::ort {
namespace {

// True when the call succeeded; its status is dropped.
bool succeeds(const OrtApi& api, OrtStatus* status) {
  if (status != nullptr) {
    api.ReleaseStatus(status);
  }
  return status == nullptr;
}

// A string that ONNX Runtime writes into our buffer: asked for its size first. `call(out, size)`.
template <class Call>
std::optional<std::string> read_string(const OrtApi& api, Call call) {
  std::size_t size = 0;
  if (!succeeds(api, call(nullptr, &size)) || size == 0) {
    return std::nullopt;
  }
  std::string text(size, '\0');
  if (!succeeds(api, call(text.data(), &size))) {
    return std::nullopt;
  }
  text.resize(size - 1);  // the terminating zero
  return text;
}

std::optional<AttributeValue> read_value(const OrtApi& api, const OrtKernelInfo* info,
                                         const char* name) {
  std::int64_t integer = 0;
  if (succeeds(api, api.KernelInfoGetAttribute_int64(info, name, &integer))) {
    return integer;
  }
  float real = 0;
  if (succeeds(api, api.KernelInfoGetAttribute_float(info, name, &real))) {
    return static_cast<double>(real);
  }
  std::optional<std::string> text = read_string(api, [&](char* out, std::size_t* size) {
    return api.KernelInfoGetAttribute_string(info, name, out, size);
  });
  if (text) {
    return *std::move(text);
  }
  return std::nullopt;
}

// ONNX Runtime answers a request for a list with an empty one when the attribute is no list, and
// with an error when there is no such attribute: the only way to tell a tensor attribute from a
// missing one.
bool exists(const OrtApi& api, const OrtKernelInfo* info, const char* name) {
  std::size_t size = 0;
  return succeeds(api, api.KernelInfoGetAttributeArray_int64(info, name, nullptr, &size));
}

Result<TensorDesc> read_input(const OrtApi& api, const OrtKernelInfo* info, std::size_t index,
                              const OpSchema& schema, const TensorSpec& spec) {
  OrtTypeInfo* type_info = nullptr;
  if (!succeeds(api, api.KernelInfo_GetInputTypeInfo(info, index, &type_info))) {
    return invalid_argument(schema.prefix, ": input ", index, " is empty, expected ", spec.name);
  }
  const std::shared_ptr<OrtTypeInfo> owner(type_info, api.ReleaseTypeInfo);
  const OrtTensorTypeAndShapeInfo* tensor = nullptr;
  if (!succeeds(api, api.CastTypeInfoToTensorInfo(type_info, &tensor)) || tensor == nullptr) {
    return invalid_argument(schema.prefix, ": ", spec.name, " is no tensor, expected ",
                            type_list(spec.type_mask));
  }
  ONNXTensorElementDataType element = ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED;
  std::size_t rank = 0;
  DOVETAIL_RETURN_IF_ERROR(from_ort(api, api.GetTensorElementType(tensor, &element)));
  DOVETAIL_RETURN_IF_ERROR(from_ort(api, api.GetDimensionsCount(tensor, &rank)));
  const std::optional<DataType> type = data_type(element);
  if (!type) {
    return invalid_argument(schema.prefix, ": ", spec.name, " is ", name_of(element), ", expected ",
                            type_list(spec.type_mask));
  }
  if (rank > Shape::kMaxRank) {
    return invalid_argument(schema.prefix, ": ", spec.name, " has rank ", rank, ", expected ",
                            spec.shape);
  }
  std::array<std::int64_t, Shape::kMaxRank> dims{};
  DOVETAIL_RETURN_IF_ERROR(from_ort(api, api.GetDimensions(tensor, dims.data(), rank)));
  return TensorDesc{*type, Shape(std::span<const std::int64_t>(dims.data(), rank))};
}

}  // namespace

std::string node_name(const OrtApi& api, const OrtKernelInfo* info) {
  return read_string(api,
                     [&](char* out, std::size_t* size) {
                       return api.KernelInfo_GetNodeName(info, out, size);
                     })
      .value_or("");
}

Result<std::vector<Attribute>> read_attributes(const OrtApi& api, const OrtKernelInfo* info,
                                               const OpSchema& schema) {
  std::vector<Attribute> given;
  for (const AttributeSpec& spec : schema.attributes) {
    if (std::optional<AttributeValue> value = read_value(api, info, spec.name)) {
      given.push_back({spec.name, *std::move(value)});
    } else if (exists(api, info, spec.name)) {
      return invalid_argument(schema.prefix, ": attribute ", spec.name,
                              " is a list or a tensor, expected ", dovetail::name_of(spec.type));
    }
  }
  return given;
}

Result<std::vector<NodeInput>> read_inputs(const OrtApi& api, const OrtKernelInfo* info,
                                           const OpSchema& schema,
                                           std::span<const TensorSpec* const> declared) {
  std::size_t count = 0;
  DOVETAIL_RETURN_IF_ERROR(from_ort(api, api.KernelInfo_GetInputCount(info, &count)));
  const auto is_empty = [&](std::size_t index) {
    OrtTypeInfo* type_info = nullptr;
    if (!succeeds(api, api.KernelInfo_GetInputTypeInfo(info, index, &type_info))) {
      return true;
    }
    api.ReleaseTypeInfo(type_info);
    return false;
  };
  while (count > 0 && is_empty(count - 1)) {
    --count;
  }
  std::vector<NodeInput> inputs;
  for (std::size_t i = 0; i < count; ++i) {
    // Inputs beyond the declared ones are read too: the operator's own check counts them.
    const TensorSpec& spec = i < declared.size() ? *declared[i] : schema.inputs.back();
    Result<TensorDesc> desc = read_input(api, info, i, schema, spec);
    if (!desc.ok()) {
      return desc.status();
    }
    int constant = 0;
    const OrtValue* value = nullptr;
    DOVETAIL_RETURN_IF_ERROR(
        from_ort(api, api.KernelInfoGetConstantInput_tensor(info, i, &constant, &value)));
    void* data = nullptr;
    if (constant != 0) {
      DOVETAIL_RETURN_IF_ERROR(
          from_ort(api, api.GetTensorMutableData(const_cast<OrtValue*>(value), &data)));
    }
    inputs.push_back({*desc, constant != 0, data});
  }
  return inputs;
}

Status check_outputs(const OrtApi& api, const OrtKernelInfo* info, const OpSchema& schema) {
  std::size_t count = 0;
  DOVETAIL_RETURN_IF_ERROR(from_ort(api, api.KernelInfo_GetOutputCount(info, &count)));
  for (std::size_t i = 0; i < schema.outputs.size(); ++i) {
    const auto has_name = [&] {  // 1.24 and older abort when asked for an output beyond the last
      const auto name = read_string(api, [&](char* out, std::size_t* size) {
        return api.KernelInfo_GetOutputName(info, i, out, size);
      });
      return !name.value_or("").empty();
    };
    if (i >= count || !has_name()) {
      return invalid_argument(schema.prefix, ": output ", schema.outputs[i].name,
                              " is missing, expected ", schema.outputs.size(), " outputs");
    }
  }
  return Status::success();
}

Allocator::Allocator(const OrtApi& api, OrtAllocator* allocator)
    : api_(&api), allocator_(allocator, api.ReleaseAllocator) {}

Result<Allocator> Allocator::open(const OrtApi& api, const OrtKernelInfo* info) {
  OrtAllocator* allocator = nullptr;
  DOVETAIL_RETURN_IF_ERROR(
      from_ort(api, api.KernelInfoGetAllocator(info, OrtMemTypeDefault, &allocator)));
  Allocator opened(api, allocator);
  DOVETAIL_RETURN_IF_ERROR(from_ort(api, api.AllocatorGetInfo(allocator, &opened.memory_)));
  OrtMemoryInfoDeviceType device = OrtMemoryInfoDeviceType_CPU;
  api.MemoryInfoGetDeviceType(opened.memory_, &device);
  opened.on_gpu_ = device == OrtMemoryInfoDeviceType_GPU;
  if (opened.on_gpu_) {
    DOVETAIL_RETURN_IF_ERROR(
        from_ort(api, api.MemoryInfoGetId(opened.memory_, &opened.device_ordinal_)));
  }
  return opened;
}

Status Allocator::allocate(const OrtKernelContext* context, std::size_t bytes, Block* block) const {
  if (bytes == 0) {
    return Status::success();
  }
  const std::size_t padded = bytes + kAlignment - 1;
  DOVETAIL_RETURN_IF_ERROR(from_ort(
      *api_, on_gpu_ ? api_->KernelContext_GetScratchBuffer(context, memory_, padded, &block->raw)
                     : api_->AllocatorAlloc(allocator_.get(), padded, &block->raw)));
  const auto address = reinterpret_cast<std::uintptr_t>(block->raw);
  block->aligned = static_cast<char*>(block->raw) + (-address & (kAlignment - 1));
  return Status::success();
}

void Allocator::release(const Block& block) const noexcept {
  if (block.raw != nullptr) {
    if (OrtStatus* status = api_->AllocatorFree(allocator_.get(), block.raw)) {
      api_->ReleaseStatus(status);
    }
  }
}

}  // namespace dovetail::ort
