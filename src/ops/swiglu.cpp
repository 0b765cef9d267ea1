// SPDX-License-Identifier: Apache-2.0
#include "ops/swiglu.h"

#include <cmath>

#include "ops/attribute_binding.h"
#include "ops/element.h"
#include "ops/message.h"

namespace dovetail {
namespace {

using A = SwigluAttributes;
const AttributeBinding<A> kBindings[] = {{"intermediate_size", &A::intermediate_size}};

constexpr std::uint32_t kActivation =
    types(DataType::kFloat32, DataType::kFloat16, DataType::kBFloat16);

OpSchema make_schema() {
  return {
      .name = "PackedSwiGLU",
      .version = "1",
      .domain = "dovetail",
      .prefix = "swiglu",
      .doc = "silu(gate) * up, with both in one tensor, as one GEMM over stacked rows leaves them.",
      .attributes = {{"intermediate_size",
                      AttributeType::kInt,
                      true,
                      std::int64_t{0},
                      {},
                      1,
                      "width I of the gate, of up and of the output"}},
      .inputs = {{"gate_up", kActivation, "[B, S, 2*I]", "",
                  "or [M, 2*I]; per token the gate, then up"}},
      .outputs = {{"output", kActivation, "[B, S, I]", "", "type of gate_up; math is fp32"}},
      .aliases = {},
  };
}

Status validate(const A& attributes) {
  // 2 * I must fit the 32-bit attribute of the GEMM that makes the input.
  constexpr std::int32_t kLargest = 1 << 30;
  if (attributes.intermediate_size < 1 || attributes.intermediate_size >= kLargest) {
    return invalid_argument("swiglu: intermediate_size is ", attributes.intermediate_size,
                            ", expected 1 to ", kLargest - 1);
  }
  return Status::success();
}

}  // namespace

const OpSchema& swiglu_schema() {
  static const OpSchema schema = make_schema();
  return schema;
}

Result<A> parse_swiglu_attributes(std::span<const Attribute> given) {
  Result<A> parsed = parse_attributes<A>(swiglu_schema(), kBindings, given);
  if (parsed.ok()) {
    DOVETAIL_RETURN_IF_ERROR(validate(*parsed));
  }
  return parsed;
}

std::vector<Attribute> list_attributes(const A& attributes) {
  return list_attributes<A>(swiglu_schema(), kBindings, attributes);
}

std::vector<OutputRule> output_rules(const A& attributes, int activation_rank) {
  OutputRule rule{0, {}};
  for (int dim = 0; dim + 1 < activation_rank; ++dim) {
    rule.dims.push_back({0, dim});
  }
  rule.dims.push_back({-1, 0, attributes.intermediate_size});
  return {rule};
}

Status check_swiglu_inputs(const A& attributes, std::span<const TensorDesc> tensors) {
  DOVETAIL_RETURN_IF_ERROR(validate(attributes));
  if (tensors.size() != 1) {
    return invalid_argument("swiglu: ", tensors.size(), " inputs, expected 1");
  }
  DOVETAIL_RETURN_IF_ERROR(check_type(swiglu_schema(), swiglu_schema().inputs[0], tensors[0].type));
  const Shape& shape = tensors[0].shape;
  const std::int64_t width = 2 * static_cast<std::int64_t>(attributes.intermediate_size);
  if (shape.rank() != 0 &&
      ((shape.rank() != 2 && shape.rank() != 3) || (shape[-1] != width && shape[-1] >= 0))) {
    return invalid_argument(
        "swiglu: gate_up is ", shape,
        ", expected [B, S, 2*I] or [M, 2*I] with 2 * intermediate_size = ", width);
  }
  return Status::success();
}

Result<SwigluProblem> describe_swiglu(const A& attributes, std::span<const TensorDesc> tensors) {
  DOVETAIL_RETURN_IF_ERROR(check_swiglu_inputs(attributes, tensors));
  const TensorDesc& gate_up = tensors[0];
  if (gate_up.shape.rank() == 0) {
    return invalid_argument("swiglu: gate_up is a scalar, expected a tensor");
  }
  return SwigluProblem{.attributes = attributes,
                       .activation_type = gate_up.type,
                       .m = gate_up.shape.count() / (2 * attributes.intermediate_size)};
}

Status validate(const SwigluProblem& p) {
  DOVETAIL_RETURN_IF_ERROR(validate(p.attributes));
  DOVETAIL_RETURN_IF_ERROR(
      check_type(swiglu_schema(), swiglu_schema().inputs[0], p.activation_type));
  if (p.m < 0) {
    return invalid_argument("swiglu: M is ", p.m, ", expected at least 0");
  }
  return Status::success();
}

Cost swiglu_cost(const SwigluProblem& p) {
  const double elements = static_cast<double>(p.m) * p.attributes.intermediate_size;
  return {.flops = 4 * elements,
          .bytes = 3 * elements * static_cast<double>(size_of(p.activation_type))};
}

Status swiglu_reference(const SwigluProblem& p, const SwigluBuffers& buffers,
                        std::span<double> output) {
  DOVETAIL_RETURN_IF_ERROR(validate(p));
  const std::int64_t width = p.attributes.intermediate_size;
  if (output.size() != static_cast<std::size_t>(p.m * width)) {
    return invalid_argument("swiglu reference: output has ", output.size(), " elements, expected ",
                            p.m * width);
  }
  for (std::int64_t i = 0; i < p.m * width; ++i) {
    const std::int64_t at = i / width * 2 * width + i % width;
    const double gate = load_element(buffers.gate_up, p.activation_type, at);
    const double up = load_element(buffers.gate_up, p.activation_type, at + width);
    output[static_cast<std::size_t>(i)] = gate / (1 + std::exp(-gate)) * up;
  }
  return Status::success();
}

}  // namespace dovetail
