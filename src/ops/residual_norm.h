// SPDX-License-Identifier: Apache-2.0
// ResidualRMSNorm as an operator: declaration, attributes, shape rules, cost, fp64 reference.
#pragma once

#include <span>
#include <vector>

#include "dovetail/residual_norm.h"
#include "ops/attention.h"
#include "ops/output_rule.h"
#include "ops/schema.h"

namespace dovetail {

inline constexpr std::size_t kResidualNormInputs = 4;   // x, residual, weight, rows
inline constexpr std::size_t kResidualNormOutputs = 2;  // normed, sum

const OpSchema& residual_norm_schema();

Result<ResidualNormAttributes> parse_residual_norm_attributes(std::span<const Attribute> given);
std::vector<Attribute> list_attributes(const ResidualNormAttributes& attributes);

// `activation_rank`: 2 ([M, H]) or 3 ([B, S, H]).
std::vector<OutputRule> output_rules(const ResidualNormAttributes& attributes, int activation_rank);

// The checks of describe_residual_norm for shapes that are known in part (see may_equal). Adapters
// call it when the node is created.
Status check_residual_norm_inputs(const ResidualNormAttributes& attributes,
                                  std::span<const TensorDesc> inputs);

// 5 flops an element (sum, square and its sum, two products); every tensor once.
Cost residual_norm_cost(const ResidualNormProblem& problem);

// The token of x that output row `row` is made of. Rows outside of the lane are brought into it.
std::int64_t source_row(const ResidualNormProblem& problem, const std::int64_t* rows,
                        std::int64_t row);

// Both outputs [M, H] in fp64, rounded nowhere. The outputs of the buffers are not used.
Status residual_norm_reference(const ResidualNormProblem& problem,
                               const ResidualNormBuffers& buffers, std::span<double> normed,
                               std::span<double> sum);

}  // namespace dovetail
