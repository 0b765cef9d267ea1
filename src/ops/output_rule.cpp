// SPDX-License-Identifier: Apache-2.0
#include "ops/output_rule.h"

namespace dovetail {

TensorDesc apply(const OutputRule& rule, std::span<const TensorDesc> inputs) {
  std::vector<std::int64_t> dims;
  for (const OutputDim& dim : rule.dims) {
    dims.push_back(dim.input < 0 ? dim.constant
                                 : inputs[static_cast<std::size_t>(dim.input)].shape[dim.dim]);
  }
  return {inputs[static_cast<std::size_t>(rule.type_of_input)].type, Shape(dims)};
}

std::vector<OutputRule> output_rules(const AttentionAttributes& a) {
  return {{0, {{0, 0}, {0, 1}, {-1, 0, a.num_q_heads}, {-1, 0, a.head_size}}},
          {1, {{1, 0}, {1, 1}, {1, 2}, {1, 3}, {1, 4}}}};
}

std::vector<OutputRule> output_rules(const Int4GemmAttributes& a, int activation_rank) {
  OutputRule rule{0, {}};
  for (int dim = 0; dim + 1 < activation_rank; ++dim) {
    rule.dims.push_back({0, dim});
  }
  rule.dims.push_back({-1, 0, a.width()});
  return {rule};
}

}  // namespace dovetail
