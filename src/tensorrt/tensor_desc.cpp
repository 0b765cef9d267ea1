// SPDX-License-Identifier: Apache-2.0
#include "tensorrt/tensor_desc.h"

#include "ops/message.h"

namespace dovetail::tensorrt {
namespace {

Result<TensorDesc> describe(const OpSchema& schema, std::int32_t index, nvinfer1::DataType type,
                            const nvinfer1::Dims& dims) {
  const std::optional<DataType> ours = data_type(type);
  if (!ours.has_value()) {
    return unsupported(schema.prefix, ": input ", index, " has TensorRT data type ",
                       static_cast<std::int32_t>(type), ", expected ", type_list(~0u));
  }
  if (dims.nbDims < 0 || dims.nbDims > Shape::kMaxRank) {
    return invalid_argument(schema.prefix, ": input ", index, " has rank ", dims.nbDims,
                            ", expected 0 to ", Shape::kMaxRank);
  }
  const std::vector<std::int64_t> values(dims.d, dims.d + dims.nbDims);
  return TensorDesc{*ours, Shape(values)};
}

template <class Desc, class Type, class DimsOf>
Result<std::vector<TensorDesc>> describe_all(const OpSchema& schema, const Desc* in,
                                             std::int32_t inputs, Type type, DimsOf dims) {
  std::vector<TensorDesc> tensors;
  for (std::int32_t i = 0; i < inputs; ++i) {
    Result<TensorDesc> tensor = describe(schema, i, type(in[i]), dims(in[i]));
    if (!tensor.ok()) {
      return tensor.status();
    }
    tensors.push_back(*tensor);
  }
  return tensors;
}

}  // namespace

std::optional<DataType> data_type(nvinfer1::DataType type) {
  switch (type) {
    case nvinfer1::DataType::kFLOAT:
      return DataType::kFloat32;
    case nvinfer1::DataType::kHALF:
      return DataType::kFloat16;
    case nvinfer1::DataType::kBF16:
      return DataType::kBFloat16;
    case nvinfer1::DataType::kFP8:
      return DataType::kFloat8E4M3;
    case nvinfer1::DataType::kINT8:
      return DataType::kInt8;
    case nvinfer1::DataType::kINT32:
      return DataType::kInt32;
    case nvinfer1::DataType::kINT64:
      return DataType::kInt64;
    default:
      return std::nullopt;
  }
}

Result<std::vector<TensorDesc>> largest_shapes(const OpSchema& schema,
                                               const nvinfer1::DynamicPluginTensorDesc* in,
                                               std::int32_t inputs) {
  using Desc = nvinfer1::DynamicPluginTensorDesc;
  return describe_all(
      schema, in, inputs, [](const Desc& d) { return d.desc.type; },
      [](const Desc& d) { return d.max; });
}

Result<std::vector<TensorDesc>> actual_shapes(const OpSchema& schema,
                                              const nvinfer1::PluginTensorDesc* in,
                                              std::int32_t inputs) {
  using Desc = nvinfer1::PluginTensorDesc;
  return describe_all(
      schema, in, inputs, [](const Desc& d) { return d.type; },
      [](const Desc& d) { return d.dims; });
}

Result<CudaDevice> current_device() {
  return cuda_device(kCurrentCudaDevice);
}

}  // namespace dovetail::tensorrt
