// SPDX-License-Identifier: Apache-2.0
// Int4GroupwiseGemmPlugin as an operator: declaration, attributes, shape rules, cost.
#pragma once

#include <span>
#include <vector>

#include "dovetail/int4_gemm.h"
#include "dovetail/swiglu.h"
#include "ops/attention.h"
#include "ops/schema.h"

namespace dovetail {

const OpSchema& int4_gemm_schema();

Result<Int4GemmAttributes> parse_int4_gemm_attributes(std::span<const Attribute> given);
std::vector<Attribute> list_attributes(const Int4GemmAttributes& attributes);

// Declared inputs, in contract order.
enum class Int4GemmInput : int { kActivations, kWeights, kScales, kZeroPoints, kBias };
inline constexpr int kInt4GemmInputs = 5;

struct Int4GemmInputMap {
  int position[kInt4GemmInputs];
  int count;

  int operator[](Int4GemmInput input) const { return position[static_cast<int>(input)]; }
};
Int4GemmInputMap int4_gemm_inputs(const Int4GemmAttributes& attributes);
// The tensors of a node's call from its inputs and its output; an absent input is null.
Int4GemmBuffers int4_gemm_buffers(const Int4GemmInputMap& map, const void* const* inputs,
                                  void* const* outputs, void* workspace);

Status validate(const Int4GemmAttributes& attributes);

// The checks of describe_int4_gemm for shapes that are known in part (see may_equal). Adapters call
// it when the node is created.
Status check_int4_gemm_inputs(const Int4GemmAttributes& attributes,
                              std::span<const TensorDesc> inputs);

// What follows the product with swiglu.
SwigluProblem swiglu_of(const Int4GemmProblem& problem);

// 2 M N K flops; packed weights, scales, zero points, activations and output once.
Cost int4_gemm_cost(const Int4GemmProblem& problem);

}  // namespace dovetail
