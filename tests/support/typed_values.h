// SPDX-License-Identifier: Apache-2.0
// Tensors of any element type as doubles, and back. The oracle side of a test computes in double;
// the side under test sees the bytes of its DataType. rounded() is the value that the type holds.
#pragma once

#include <cstddef>
#include <cstring>
#include <span>
#include <vector>

#include "dovetail/tensor.h"
#include "layout/narrow_float.h"

namespace dovetail::test_support {

inline double load_value(const void* data, DataType type, std::size_t i) {
  const auto at = [&](auto value) {
    std::memcpy(&value, static_cast<const std::byte*>(data) + i * sizeof value, sizeof value);
    return value;
  };
  switch (type) {
    case DataType::kFloat32:
      return static_cast<double>(at(float{}));
    case DataType::kFloat16:
      return static_cast<double>(half_to_float(at(std::uint16_t{})));
    case DataType::kBFloat16:
      return static_cast<double>(bfloat16_to_float(at(std::uint16_t{})));
    case DataType::kFloat8E4M3:
      return static_cast<double>(e4m3_to_float(at(std::uint8_t{})));
    case DataType::kInt8:
      return at(std::int8_t{});
    case DataType::kInt32:
      return at(std::int32_t{});
    case DataType::kInt64:
      return static_cast<double>(at(std::int64_t{}));
  }
  return 0;
}

inline void store_value(void* data, DataType type, std::size_t i, double value) {
  const auto put = [&](auto bits) {
    std::memcpy(static_cast<std::byte*>(data) + i * sizeof bits, &bits, sizeof bits);
  };
  const auto single = static_cast<float>(value);
  switch (type) {
    case DataType::kFloat32:
      return put(single);
    case DataType::kFloat16:
      return put(float_to_half(single));
    case DataType::kBFloat16:
      return put(float_to_bfloat16(single));
    case DataType::kFloat8E4M3:
      return put(float_to_e4m3(single));
    case DataType::kInt8:
      return put(static_cast<std::int8_t>(value));
    case DataType::kInt32:
      return put(static_cast<std::int32_t>(value));
    case DataType::kInt64:
      return put(static_cast<std::int64_t>(value));
  }
}

inline double rounded(double value, DataType type) {
  double storage = 0;
  store_value(&storage, type, 0, value);
  return load_value(&storage, type, 0);
}

inline std::vector<double> load_values(const void* data, DataType type, std::size_t count) {
  std::vector<double> values(count);
  for (std::size_t i = 0; i < count; ++i) {
    values[i] = load_value(data, type, i);
  }
  return values;
}

inline void store_values(void* data, DataType type, std::span<const double> values) {
  for (std::size_t i = 0; i < values.size(); ++i) {
    store_value(data, type, i, values[i]);
  }
}

}  // namespace dovetail::test_support
