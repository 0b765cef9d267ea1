// SPDX-License-Identifier: Apache-2.0
#include "runtime/embedding.h"

#include <cstring>

#include "layout/narrow_float.h"

namespace dovetail {
namespace {

float load(DataType type, const std::byte* from) {
  if (type == DataType::kFloat32) {
    float value;
    std::memcpy(&value, from, sizeof value);
    return value;
  }
  std::uint16_t bits;
  std::memcpy(&bits, from, sizeof bits);
  return type == DataType::kFloat16 ? half_to_float(bits) : bfloat16_to_float(bits);
}

void store(DataType type, float value, std::byte* to) {
  if (type == DataType::kFloat32) {
    std::memcpy(to, &value, sizeof value);
    return;
  }
  const std::uint16_t bits =
      type == DataType::kFloat16 ? float_to_half(value) : float_to_bfloat16(value);
  std::memcpy(to, &bits, sizeof bits);
}

}  // namespace

void copy_embedding_row(const SafeTensor& table, std::int32_t id, DataType type, std::byte* out) {
  const auto width = static_cast<std::size_t>(table.desc.shape[1]);
  const std::size_t element = size_of(table.desc.type);
  const std::byte* row = table.data.data() + static_cast<std::size_t>(id) * width * element;
  if (type == table.desc.type) {
    std::memcpy(out, row, width * element);
    return;
  }
  for (std::size_t i = 0; i < width; ++i) {
    store(type, load(table.desc.type, row + i * element), out + i * size_of(type));
  }
}

}  // namespace dovetail
