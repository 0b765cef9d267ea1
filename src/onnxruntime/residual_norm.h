// SPDX-License-Identifier: Apache-2.0
// ResidualRMSNorm for Kernel: which functions of the operator serve a node.
#pragma once

#include <array>
#include <span>
#include <vector>

#include "ops/residual_norm.h"

namespace dovetail::ort {

struct ResidualNormOp {
  struct InputMap {
    std::array<int, kResidualNormInputs> position{0, 1, 2, -1};
    int count = 3;
  };
  using Attributes = ResidualNormAttributes;
  using Problem = ResidualNormProblem;
  static constexpr std::size_t kInputs = kResidualNormInputs;
  static constexpr std::size_t kOutputs = kResidualNormOutputs;

  static const OpSchema& schema() { return residual_norm_schema(); }
  static Result<Attributes> parse(std::span<const Attribute> given) {
    return parse_residual_norm_attributes(given);
  }
  static InputMap input_map(const Attributes& attributes) {
    return attributes.has_rows != 0 ? InputMap{.position = {0, 1, 2, 3}, .count = 4} : InputMap{};
  }
  static Status check_inputs(const Attributes& attributes, std::span<const TensorDesc> inputs) {
    return check_residual_norm_inputs(attributes, inputs);
  }
  // The least call, of one row: can the device serve the node at all?
  static Problem smallest(const Attributes& attributes, std::span<const TensorDesc> inputs) {
    const std::int64_t hidden = known_dim(inputs[2], 0);
    return {.attributes = attributes,
            .activation_type = inputs[0].type,
            .m = 1,
            .hidden = hidden < 1 ? 1 : hidden,
            .tokens = 1,
            .rows_per_lane = 1};
  }
  static Result<Problem> describe(const Attributes& attributes,
                                  std::span<const TensorDesc> inputs) {
    return describe_residual_norm(attributes, inputs);
  }
  static std::vector<OutputRule> rules(const Attributes& attributes, int activation_rank) {
    return output_rules(attributes, activation_rank == 2 ? 2 : 3);
  }
  static ResidualNormBuffers buffers(const InputMap& map, const void* const* inputs,
                                     void* const* outputs, void* /*workspace*/) {
    return {.x = inputs[0],
            .residual = inputs[1],
            .weight = inputs[2],
            .rows = map.count < 4 ? nullptr : static_cast<const std::int64_t*>(inputs[3]),
            .normed = outputs[0],
            .sum = outputs[1]};
  }
};

}  // namespace dovetail::ort
