// SPDX-License-Identifier: Apache-2.0
// Int4GroupwiseGemmPlugin for Kernel: which functions of the operator serve a node, and which
// input is what.
#pragma once

#include <span>
#include <vector>

#include "ops/int4_gemm.h"
#include "ops/output_rule.h"

namespace dovetail::ort {

struct Int4GemmOp {
  using Attributes = Int4GemmAttributes;
  using InputMap = Int4GemmInputMap;
  using Problem = Int4GemmProblem;
  static constexpr std::size_t kInputs = kInt4GemmInputs;
  static constexpr std::size_t kOutputs = 1;

  static const OpSchema& schema() { return int4_gemm_schema(); }
  static Result<Attributes> parse(std::span<const Attribute> given) {
    return parse_int4_gemm_attributes(given);
  }
  static InputMap input_map(const Attributes& attributes) { return int4_gemm_inputs(attributes); }
  static Status check_inputs(const Attributes& attributes, std::span<const TensorDesc> inputs) {
    return check_int4_gemm_inputs(attributes, inputs);
  }
  // The least call, of one row: can the device serve the node at all?
  static Problem smallest(const Attributes& attributes, std::span<const TensorDesc> inputs);
  static Result<Problem> describe(const Attributes& attributes,
                                  std::span<const TensorDesc> inputs) {
    return describe_int4_gemm(attributes, inputs);
  }
  static std::vector<OutputRule> rules(const Attributes& attributes, int activation_rank);
  static Int4GemmBuffers buffers(const InputMap& map, const void* const* inputs,
                                 void* const* outputs, void* workspace) {
    return int4_gemm_buffers(map, inputs, outputs, workspace);
  }
};

}  // namespace dovetail::ort
