// SPDX-License-Identifier: Apache-2.0
// How outputs follow from inputs, in a form that symbolic shape inference can use: the type is that
// of one input, and each dimension is copied from an input or fixed by an attribute.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "ops/attention.h"
#include "ops/int4_gemm.h"

namespace dovetail {

struct OutputDim {
  int input = -1;  // copied from this input's dimension `dim`; -1: `constant`
  int dim = 0;
  std::int64_t constant = 0;
};

struct OutputRule {
  int type_of_input = 0;
  std::vector<OutputDim> dims;
};

// The output for given inputs. Negative (unknown) dimensions pass through.
TensorDesc apply(const OutputRule& rule, std::span<const TensorDesc> inputs);

std::vector<OutputRule> output_rules(const AttentionAttributes& attributes);
// `activation_rank`: 2 ([M, K]) or 3 ([B, S, K]).
std::vector<OutputRule> output_rules(const Int4GemmAttributes& attributes, int activation_rank);

}  // namespace dovetail
