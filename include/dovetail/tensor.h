// SPDX-License-Identifier: Apache-2.0
// What a tensor is to Dovetail: an element type, a shape, and (elsewhere) a pointer. Always dense,
// row-major; the last dimension is contiguous.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <iosfwd>
#include <span>

namespace dovetail {

enum class DataType : std::uint8_t {
  kFloat32,
  kFloat16,
  kBFloat16,
  kFloat8E4M3,  // 1-4-3, bias 7, no infinity, largest value 448
  kInt8,
  kInt32,
  kInt64,
};

constexpr std::size_t size_of(DataType type) {
  switch (type) {
    case DataType::kFloat32:
      return 4;
    case DataType::kFloat16:
      return 2;
    case DataType::kBFloat16:
      return 2;
    case DataType::kFloat8E4M3:
      return 1;
    case DataType::kInt8:
      return 1;
    case DataType::kInt32:
      return 4;
    case DataType::kInt64:
      return 8;
  }
  return 0;
}

// "fp32", "fp16", "bf16", "fp8_e4m3", "int8", "int32", "int64".
const char* name_of(DataType type);
std::ostream& operator<<(std::ostream& out, DataType type);

// A shape of rank 0 to 6. Prints as "[2, 3]".
class Shape {
 public:
  static constexpr int kMaxRank = 6;

  constexpr Shape() = default;
  constexpr Shape(std::initializer_list<std::int64_t> dims)
      : Shape(std::span(dims.begin(), dims.size())) {}
  constexpr explicit Shape(std::span<const std::int64_t> dims)
      : rank_(static_cast<int>(dims.size() <= kMaxRank ? dims.size() : kMaxRank)) {
    for (int i = 0; i < rank_; ++i) {
      dims_[static_cast<std::size_t>(i)] = dims[static_cast<std::size_t>(i)];
    }
  }

  constexpr int rank() const { return rank_; }
  // Dimension i; negative i counts from the end.
  constexpr std::int64_t operator[](int i) const {
    return dims_[static_cast<std::size_t>(i < 0 ? i + rank_ : i)];
  }
  constexpr std::int64_t count() const {
    std::int64_t product = 1;
    for (int i = 0; i < rank_; ++i) {
      product *= dims_[static_cast<std::size_t>(i)];
    }
    return product;
  }
  constexpr bool operator==(const Shape& other) const = default;

 private:
  std::array<std::int64_t, kMaxRank> dims_{};
  int rank_ = 0;
};

std::ostream& operator<<(std::ostream& out, const Shape& shape);

struct TensorDesc {
  DataType type = DataType::kFloat32;
  Shape shape;
};

}  // namespace dovetail
