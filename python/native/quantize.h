// SPDX-License-Identifier: Apache-2.0
// Round-to-nearest int4 with a search for the scale of every group.
//
// Legend: N output features, K input features, G group size; r = code - zero_point, so a weight
// becomes r * scale with -zero_point <= r <= 15 - zero_point (symmetric: zero_point 8). The search
// minimises the squared error of the group: a grid of clipping factors, then the least-squares
// scale of the codes found (sum(w r) / sum(r r)), then, asymmetric, the neighbouring zero points.
// Every candidate is rounded to the storage type first: what is judged is what will be read.
#pragma once

#include <cstdint>
#include <span>

#include "dovetail/cpu.h"
#include "dovetail/status.h"
#include "dovetail/tensor.h"

namespace dovetail {

struct QuantizeParams {
  std::int64_t n = 0;
  std::int64_t k = 0;           // a multiple of group_size
  std::int64_t group_size = 0;  // 32, 64, 128
  bool asymmetric = false;
  DataType scale_type =
      DataType::kFloat16;  // fp32, fp16, bf16: the scales hold values of this type
};

struct QuantizeBuffers {
  std::span<const float> weights;       // [N, K], finite
  std::span<std::uint8_t> codes;        // [N, K] 0..15
  std::span<float> scales;              // [N, K/G]
  std::span<std::uint8_t> zero_points;  // [N, K/G], empty when symmetric
};

struct QuantizeError {
  double squared_error = 0;  // sum of (w - r * scale)^2
  double squared_norm = 0;   // sum of w^2
};

Result<QuantizeError> quantize_int4(const QuantizeParams& params, const QuantizeBuffers& buffers,
                                    const TaskRunner& tasks);

}  // namespace dovetail
