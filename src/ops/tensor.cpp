// SPDX-License-Identifier: Apache-2.0
#include "dovetail/tensor.h"

#include <ostream>

namespace dovetail {

const char* name_of(DataType type) {
  switch (type) {
    case DataType::kFloat32:
      return "fp32";
    case DataType::kFloat16:
      return "fp16";
    case DataType::kBFloat16:
      return "bf16";
    case DataType::kFloat8E4M3:
      return "fp8_e4m3";
    case DataType::kInt8:
      return "int8";
    case DataType::kInt32:
      return "int32";
    case DataType::kInt64:
      return "int64";
  }
  return "unknown";
}

std::ostream& operator<<(std::ostream& out, DataType type) {
  return out << name_of(type);
}

std::ostream& operator<<(std::ostream& out, const Shape& shape) {
  out << '[';
  for (int i = 0; i < shape.rank(); ++i) {
    out << (i ? ", " : "") << shape[i];
  }
  return out << ']';
}

}  // namespace dovetail
