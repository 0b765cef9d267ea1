// SPDX-License-Identifier: Apache-2.0
#include "onnxruntime/status.h"

namespace dovetail::ort {
namespace {

struct TypePair {
  DataType ours;
  ONNXTensorElementDataType theirs;
};

constexpr TypePair kTypes[] = {
    {DataType::kFloat32, ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT},
    {DataType::kFloat16, ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT16},
    {DataType::kBFloat16, ONNX_TENSOR_ELEMENT_DATA_TYPE_BFLOAT16},
    {DataType::kFloat8E4M3, ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT8E4M3FN},
    {DataType::kInt8, ONNX_TENSOR_ELEMENT_DATA_TYPE_INT8},
    {DataType::kInt32, ONNX_TENSOR_ELEMENT_DATA_TYPE_INT32},
    {DataType::kInt64, ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64},
};

OrtErrorCode error_code(StatusCode code) {
  switch (code) {
    case StatusCode::kOk:
      return ORT_OK;
    case StatusCode::kInvalidArgument:
      return ORT_INVALID_ARGUMENT;
    case StatusCode::kUnsupported:
      return ORT_NOT_IMPLEMENTED;
    case StatusCode::kNotFound:
      return ORT_NO_SUCHFILE;
    case StatusCode::kDataLoss:
      return ORT_INVALID_GRAPH;
    case StatusCode::kResource:
      return ORT_FAIL;
    case StatusCode::kInternal:
      return ORT_RUNTIME_EXCEPTION;
  }
  return ORT_FAIL;
}

}  // namespace

OrtStatus* to_ort(const OrtApi& api, const Status& status) noexcept {
  return status.ok() ? nullptr
                     : api.CreateStatus(error_code(status.code()), status.message().c_str());
}

Status from_ort(const OrtApi& api, OrtStatus* status) {
  if (status == nullptr) {
    return Status::success();
  }
  Status ours = internal_error("ONNX Runtime: ", api.GetErrorMessage(status));
  api.ReleaseStatus(status);
  return ours;
}

std::optional<DataType> data_type(ONNXTensorElementDataType type) {
  for (const TypePair& pair : kTypes) {
    if (pair.theirs == type) {
      return pair.ours;
    }
  }
  return std::nullopt;
}

ONNXTensorElementDataType element_type(DataType type) {
  for (const TypePair& pair : kTypes) {
    if (pair.ours == type) {
      return pair.theirs;
    }
  }
  return ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED;
}

const char* name_of(ONNXTensorElementDataType type) {
  switch (type) {
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_DOUBLE:
      return "float64";
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8:
      return "uint8";
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT16:
      return "uint16";
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_INT16:
      return "int16";
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT32:
      return "uint32";
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT64:
      return "uint64";
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_BOOL:
      return "bool";
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_STRING:
      return "string";
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT4:
      return "uint4";
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_INT4:
      return "int4";
    default:
      break;
  }
  const std::optional<DataType> known = data_type(type);
  return known ? dovetail::name_of(*known) : "another type";
}

}  // namespace dovetail::ort
