// SPDX-License-Identifier: Apache-2.0
// The int4 GEMM in fp64, straight from the contract: the judge of every backend, never fast.
//
// Legend: M rows, K in, N out, G group size. compute_mode kInt8 rounds the activations first, per
// row and group, by the rule that all backends follow bit for bit (in fp32, to nearest even):
//   absmax = max |a|;  scale = absmax / 127;  q = rint(a * (127 / absmax));  a' = q * scale
// A group with absmax < 2^-100 counts as zero, and one that holds a NaN is NaN altogether.
#pragma once

#include <cstdint>
#include <span>

#include "dovetail/int4_gemm.h"

namespace dovetail {

inline constexpr float kInt8SmallestAbsmax = 0x1p-100f;

// Activations of one row and group as int8 with their scale.
struct Int8Group {
  float scale;
  std::int8_t values[128];
};
Int8Group round_to_int8(std::span<const float> group);

// Scale, and code minus zero point, of the weight (n, k): value = code * scale.
struct Int4Weight {
  int code;
  float scale;
};
Int4Weight int4_weight(const Int4GemmProblem& problem, const Int4GemmBuffers& buffers,
                       std::int64_t n, std::int64_t k);

// output [M, N], not rounded to the output type; magnitude [M, N] or empty: sum of |terms| of each
// element. workspace and output of the buffers are not used. Layouts edgellm_v1 and cpu_v1.
Status int4_gemm_reference(const Int4GemmProblem& problem, const Int4GemmBuffers& buffers,
                           std::span<double> output, std::span<double> magnitude = {});

}  // namespace dovetail
