// SPDX-License-Identifier: Apache-2.0
#include "runtime/onnxruntime_tensor.h"

#include <array>

namespace dovetail {
namespace {

ONNXTensorElementDataType element_type(DataType type) {
  switch (type) {
    case DataType::kFloat32:
      return ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT;
    case DataType::kFloat16:
      return ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT16;
    case DataType::kBFloat16:
      return ONNX_TENSOR_ELEMENT_DATA_TYPE_BFLOAT16;
    case DataType::kFloat8E4M3:
      return ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT8E4M3FN;
    case DataType::kInt8:
      return ONNX_TENSOR_ELEMENT_DATA_TYPE_INT8;
    case DataType::kInt32:
      return ONNX_TENSOR_ELEMENT_DATA_TYPE_INT32;
    case DataType::kInt64:
      return ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64;
  }
  return ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED;
}

}  // namespace

Result<OrtOwner<OrtValue>> tensor_over(const OrtApi& api, const OrtMemoryInfo* memory,
                                       DataType type, const Shape& shape, const void* data) {
  std::array<std::int64_t, Shape::kMaxRank> dims{};
  const auto rank = static_cast<std::size_t>(shape.rank());
  for (std::size_t i = 0; i < rank; ++i) {
    dims[i] = shape[static_cast<int>(i)];
  }
  OrtOwner<OrtValue> value(nullptr, api.ReleaseValue);
  DOVETAIL_RETURN_IF_ERROR(to_status(
      api,
      api.CreateTensorWithDataAsOrtValue(memory, const_cast<void*>(data),
                                         static_cast<std::size_t>(shape.count()) * size_of(type),
                                         dims.data(), rank, element_type(type), OrtFill(value)),
      "make a tensor"));
  return value;
}

}  // namespace dovetail
