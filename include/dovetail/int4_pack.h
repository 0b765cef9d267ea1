// SPDX-License-Identifier: Apache-2.0
// Packers: plain int4 weights to the bytes of a layout (docs/layouts.md has the maps), and back.
//
// Legend: N output features, K input features, G group size.
// Plain form: row-major, one value a byte (scales: fp32):
//   codes [N, K] 0..15, scales [N, K/G], zero_points [N, K/G] 0..15 (empty: symmetric, 8)
// Packed form: the three buffers of Int4GemmBuffers, sizes from weights_shape() /
// scales_shape(). Packing fills every byte: padding weights are 8, padding scales 0, padding
// zero points 8. Not here: quantization itself.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "dovetail/int4_gemm.h"
#include "dovetail/status.h"
#include "dovetail/tensor.h"

namespace dovetail {

// What the bytes mean; shared by both directions.
struct Int4Format {
  std::int64_t n = 0;
  std::int64_t k = 0;
  std::int64_t group_size = 0;
  WeightLayout layout = WeightLayout::kCpuV1;
  DataType scale_type = DataType::kFloat16;  // fp32, fp16, bf16
};

struct PlainInt4 {
  std::span<const std::uint8_t> codes;        // [N, K]
  std::span<const float> scales;              // [N, K/G]
  std::span<const std::uint8_t> zero_points;  // [N, K/G] or empty
};

struct PackedInt4 {
  std::span<std::byte> weights;      // weights_shape().count() bytes
  std::span<std::byte> scales;       // scales_shape().count() elements of scale_type
  std::span<std::byte> zero_points;  // scales_shape().count() bytes, or empty
};

// Refuses a code or zero point above 15 and a scale that scale_type cannot hold.
Status pack_int4(const Int4Format& format, const PlainInt4& plain, const PackedInt4& packed);

struct PlainInt4Buffers {
  std::span<std::uint8_t> codes;        // [N, K]
  std::span<float> scales;              // [N, K/G]
  std::span<std::uint8_t> zero_points;  // [N, K/G] or empty
};

struct PackedInt4View {
  std::span<const std::byte> weights;
  std::span<const std::byte> scales;
  std::span<const std::byte> zero_points;  // or empty
};

Status unpack_int4(const Int4Format& format, const PackedInt4View& packed,
                   const PlainInt4Buffers& plain);

}  // namespace dovetail
