// SPDX-License-Identifier: Apache-2.0
// PackedSwiGLU as an operator: declaration, attributes, shape rules, cost, fp64 reference.
#pragma once

#include <span>
#include <vector>

#include "dovetail/swiglu.h"
#include "ops/attention.h"
#include "ops/output_rule.h"
#include "ops/schema.h"

namespace dovetail {

const OpSchema& swiglu_schema();

Result<SwigluAttributes> parse_swiglu_attributes(std::span<const Attribute> given);
std::vector<Attribute> list_attributes(const SwigluAttributes& attributes);

// `activation_rank`: 2 ([M, 2*I]) or 3 ([B, S, 2*I]).
std::vector<OutputRule> output_rules(const SwigluAttributes& attributes, int activation_rank);

// The checks of describe_swiglu for shapes that are known in part (see may_equal). Adapters call it
// when the node is created.
Status check_swiglu_inputs(const SwigluAttributes& attributes, std::span<const TensorDesc> inputs);

// 4 flops an element (two products, a sum, a quotient; the exponential not counted); input and
// output once.
Cost swiglu_cost(const SwigluProblem& problem);

// output [M, I] in fp64, not rounded to the output type. The output of the buffers is not used.
Status swiglu_reference(const SwigluProblem& problem, const SwigluBuffers& buffers,
                        std::span<double> output);

}  // namespace dovetail
