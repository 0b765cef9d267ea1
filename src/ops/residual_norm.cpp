// SPDX-License-Identifier: Apache-2.0
#include "ops/residual_norm.h"

#include <algorithm>
#include <cmath>

#include "ops/attribute_binding.h"
#include "ops/element.h"
#include "ops/message.h"

namespace dovetail {
namespace {

using A = ResidualNormAttributes;
const AttributeBinding<A> kBindings[] = {{"epsilon", &A::epsilon}, {"has_rows", &A::has_rows}};

constexpr std::uint32_t kActivation =
    types(DataType::kFloat32, DataType::kFloat16, DataType::kBFloat16);

OpSchema make_schema() {
  return {
      .name = "ResidualRMSNorm",
      .version = "1",
      .domain = "dovetail",
      .prefix = "residual_norm",
      .doc = "RMSNorm of x + residual, and the sum itself, in one pass.",
      .attributes = {{"epsilon",
                      AttributeType::kFloat,
                      false,
                      1e-5,
                      {},
                      0,
                      "added to the mean of the squares"},
                     {"has_rows",
                      AttributeType::kInt,
                      false,
                      std::int64_t{0},
                      {},
                      0,
                      "1: the input rows is present, and the outputs have its tokens alone"}},
      .inputs = {{"x", kActivation, "[B, S, H]", "", "or [M, H]"},
                 {"residual", kActivation, "as x", "", "type of x"},
                 {"weight", kActivation, "[H]", "", "type of x"},
                 {"rows", types(DataType::kInt64), "[B, L]", "has_rows",
                  "tokens of each lane, from 0 to S - 1; x is [B, S, H] then"}},
      .outputs = {{"normed", kActivation, "as x", "", "or [B, L, H]; type of x, math is fp32"},
                  {"sum", kActivation, "as x", "", "x + residual, the next residual"}},
      .aliases = {},
  };
}

Status validate(const A& attributes) {
  if (!(attributes.epsilon >= 0) || std::isinf(attributes.epsilon)) {
    return invalid_argument("residual_norm: epsilon is ", attributes.epsilon,
                            ", expected a number of at least 0");
  }
  if (attributes.has_rows != 0 && attributes.has_rows != 1) {
    return invalid_argument("residual_norm: has_rows is ", attributes.has_rows,
                            ", expected 0 or 1");
  }
  return Status::success();
}

Status check_shapes(std::span<const TensorDesc> tensors) {
  const OpSchema& schema = residual_norm_schema();
  const Shape& x = tensors[0].shape;
  if (x.rank() == 0) {  // nothing is known of it
    return Status::success();
  }
  const bool has_rows = tensors.size() == kResidualNormInputs;
  if (x.rank() != 3 && (has_rows || x.rank() != 2)) {
    return invalid_argument("residual_norm: x is ", x, ", expected [B, S, H]",
                            has_rows ? "" : " or [M, H]");
  }
  if (has_rows) {
    const Shape& rows = tensors[3].shape;
    if (rows.rank() != 0) {
      DOVETAIL_RETURN_IF_ERROR(check_rank(schema, schema.inputs[3], rows, 2));
      if (const Shape expected{x[0], rows[1]}; !may_equal(rows, expected)) {
        return wrong_shape(schema, schema.inputs[3], rows, expected);
      }
    }
  }
  if (!may_equal(tensors[1].shape, x)) {
    return wrong_shape(schema, schema.inputs[1], tensors[1].shape, x);
  }
  const Shape weight{x[-1]};
  if (!may_equal(tensors[2].shape, weight)) {
    return wrong_shape(schema, schema.inputs[2], tensors[2].shape, weight);
  }
  return Status::success();
}

}  // namespace

const OpSchema& residual_norm_schema() {
  static const OpSchema schema = make_schema();
  return schema;
}

Result<A> parse_residual_norm_attributes(std::span<const Attribute> given) {
  Result<A> parsed = parse_attributes<A>(residual_norm_schema(), kBindings, given);
  if (parsed.ok()) {
    DOVETAIL_RETURN_IF_ERROR(validate(*parsed));
  }
  return parsed;
}

std::vector<Attribute> list_attributes(const A& attributes) {
  return list_attributes<A>(residual_norm_schema(), kBindings, attributes);
}

std::vector<OutputRule> output_rules(const A& attributes, int activation_rank) {
  if (attributes.has_rows != 0) {
    const OutputRule rows{0, {{0, 0}, {3, 1}, {0, 2}}};
    return {rows, rows};
  }
  OutputRule rule{0, {}};
  for (int dim = 0; dim < activation_rank; ++dim) {
    rule.dims.push_back({0, dim});
  }
  return {rule, rule};
}

Status check_residual_norm_inputs(const A& attributes, std::span<const TensorDesc> tensors) {
  DOVETAIL_RETURN_IF_ERROR(validate(attributes));
  const OpSchema& schema = residual_norm_schema();
  const std::size_t expected = attributes.has_rows != 0 ? 4 : 3;
  if (tensors.size() != expected) {
    return invalid_argument("residual_norm: ", tensors.size(), " inputs, expected ", expected);
  }
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    DOVETAIL_RETURN_IF_ERROR(check_type(schema, schema.inputs[i], tensors[i].type));
    if (i < 3 && tensors[i].type != tensors[0].type) {
      return invalid_argument("residual_norm: ", schema.inputs[i].name, " is ", tensors[i].type,
                              ", expected ", tensors[0].type, ", the type of x");
    }
  }
  return check_shapes(tensors);
}

Result<ResidualNormProblem> describe_residual_norm(const A& attributes,
                                                   std::span<const TensorDesc> tensors) {
  DOVETAIL_RETURN_IF_ERROR(check_residual_norm_inputs(attributes, tensors));
  const Shape& x = tensors[0].shape;
  if (x.rank() == 0) {
    return invalid_argument("residual_norm: x is a scalar, expected a tensor");
  }
  ResidualNormProblem problem{
      .attributes = attributes, .activation_type = tensors[0].type, .m = 1, .hidden = x[-1]};
  for (int dim = 0; dim + 1 < x.rank(); ++dim) {
    problem.m *= x[dim];
  }
  if (attributes.has_rows != 0) {
    problem.tokens = x[1];
    problem.rows_per_lane = tensors[3].shape[1];
    problem.m = x[0] * problem.rows_per_lane;
  }
  DOVETAIL_RETURN_IF_ERROR(validate(problem));
  return problem;
}

Status validate(const ResidualNormProblem& p) {
  DOVETAIL_RETURN_IF_ERROR(validate(p.attributes));
  const OpSchema& schema = residual_norm_schema();
  DOVETAIL_RETURN_IF_ERROR(check_type(schema, schema.inputs[0], p.activation_type));
  if (p.m < 0 || p.hidden < 1) {
    return invalid_argument("residual_norm: x is [", p.m, ", ", p.hidden,
                            "], expected [M, H] with H of at least 1");
  }
  if (p.attributes.has_rows != 0 && p.m > 0 && (p.tokens < 1 || p.rows_per_lane < 1)) {
    return invalid_argument("residual_norm: rows are ", p.rows_per_lane, " of ", p.tokens,
                            " tokens, expected at least 1 of 1");
  }
  return Status::success();
}

Cost residual_norm_cost(const ResidualNormProblem& p) {
  const double elements = static_cast<double>(p.m) * static_cast<double>(p.hidden);
  return {.flops = 5 * elements,
          .bytes = (4 * elements + static_cast<double>(p.hidden)) *
                   static_cast<double>(size_of(p.activation_type))};
}

std::int64_t source_row(const ResidualNormProblem& p, const std::int64_t* rows, std::int64_t row) {
  if (p.attributes.has_rows == 0) {
    return row;
  }
  return row / p.rows_per_lane * p.tokens + std::clamp<std::int64_t>(rows[row], 0, p.tokens - 1);
}

Status residual_norm_reference(const ResidualNormProblem& p, const ResidualNormBuffers& buffers,
                               std::span<double> normed, std::span<double> sum) {
  DOVETAIL_RETURN_IF_ERROR(validate(p));
  const auto elements = static_cast<std::size_t>(p.m * p.hidden);
  if (normed.size() != elements || sum.size() != elements) {
    return invalid_argument("residual_norm reference: the outputs have ", normed.size(), " and ",
                            sum.size(), " elements, expected ", elements);
  }
  for (std::int64_t row = 0; row < p.m; ++row) {
    const std::int64_t begin = row * p.hidden;
    const std::int64_t skipped = (source_row(p, buffers.rows, row) - row) * p.hidden;
    double squares = 0;
    for (std::int64_t i = begin; i < begin + p.hidden; ++i) {
      const double value = load_element(buffers.x, p.activation_type, i + skipped) +
                           load_element(buffers.residual, p.activation_type, i + skipped);
      sum[static_cast<std::size_t>(i)] = value;
      squares += value * value;
    }
    const double mean = squares / static_cast<double>(p.hidden);
    const double factor = 1 / std::sqrt(mean + static_cast<double>(p.attributes.epsilon));
    for (std::int64_t i = begin; i < begin + p.hidden; ++i) {
      normed[static_cast<std::size_t>(i)] =
          sum[static_cast<std::size_t>(i)] * factor *
          load_element(buffers.weight, p.activation_type, i - begin);
    }
  }
  return Status::success();
}

}  // namespace dovetail
