// SPDX-License-Identifier: Apache-2.0
#include "onnxruntime/int4_gemm.h"

namespace dovetail::ort {

Int4GemmProblem Int4GemmOp::smallest(const Attributes& attributes,
                                     std::span<const TensorDesc> inputs) {
  return {
      .attributes = attributes,
      .activation_type = inputs[static_cast<std::size_t>(Int4GemmInput::kActivations)].type,
      .scale_type = inputs[static_cast<std::size_t>(Int4GemmInput::kScales)].type,
      .m = 1,
  };
}

std::vector<OutputRule> Int4GemmOp::rules(const Attributes& attributes, int activation_rank) {
  return output_rules(attributes,
                      activation_rank == 2 ? 2 : 3);  // unknown: the contract's [B, S, K]
}

}  // namespace dovetail::ort
