// SPDX-License-Identifier: Apache-2.0
#include "ops/element.h"

#include <limits>

#include "layout/narrow_float.h"

namespace dovetail {

double load_element(const void* data, DataType type, std::int64_t index) {
  switch (type) {
    case DataType::kFloat32:
      return static_cast<const float*>(data)[index];
    case DataType::kFloat16:
      return half_to_float(static_cast<const std::uint16_t*>(data)[index]);
    case DataType::kBFloat16:
      return bfloat16_to_float(static_cast<const std::uint16_t*>(data)[index]);
    case DataType::kFloat8E4M3:
      return e4m3_to_float(static_cast<const std::uint8_t*>(data)[index]);
    default:
      return std::numeric_limits<double>::quiet_NaN();
  }
}

void store_element(void* data, DataType type, std::int64_t index, double value) {
  const auto f = static_cast<float>(value);
  switch (type) {
    case DataType::kFloat32:
      static_cast<float*>(data)[index] = f;
      break;
    case DataType::kFloat16:
      static_cast<std::uint16_t*>(data)[index] = float_to_half(f);
      break;
    case DataType::kBFloat16:
      static_cast<std::uint16_t*>(data)[index] = float_to_bfloat16(f);
      break;
    case DataType::kFloat8E4M3:
      static_cast<std::uint8_t*>(data)[index] = float_to_e4m3(f);
      break;
    default:
      break;
  }
}

}  // namespace dovetail
