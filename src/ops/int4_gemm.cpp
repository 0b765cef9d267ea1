// SPDX-License-Identifier: Apache-2.0
#include "ops/int4_gemm.h"

#include "layout/int4_layout.h"
#include "ops/attribute_binding.h"
#include "ops/message.h"
#include "ops/output_rule.h"

namespace dovetail {
namespace {

using A = Int4GemmAttributes;
const AttributeBinding<A> kBindings[] = {
    {"gemm_n", &A::gemm_n},
    {"gemm_k", &A::gemm_k},
    {"group_size", &A::group_size},
    {"has_zero_points", &A::has_zero_points},
    {"has_bias", &A::has_bias},
    {"weight_layout",
     EnumField<A>{[](const A& a) { return static_cast<std::int32_t>(a.weight_layout); },
                  [](A& a, std::int32_t i) { a.weight_layout = static_cast<WeightLayout>(i); }}},
    {"compute_mode",
     EnumField<A>{[](const A& a) { return static_cast<std::int32_t>(a.compute_mode); },
                  [](A& a, std::int32_t i) { a.compute_mode = static_cast<ComputeMode>(i); }}},
    {"swiglu", &A::swiglu},
};

constexpr std::uint32_t kActivation =
    types(DataType::kFloat32, DataType::kFloat16, DataType::kBFloat16);
constexpr std::uint32_t kBytes = types(DataType::kInt8);

OpSchema make_schema() {
  const auto integer = [](const char* name, bool required, double minimum, const char* doc) {
    return AttributeSpec{name, AttributeType::kInt, required, std::int64_t{0}, {}, minimum, doc};
  };
  return {
      .name = "Int4GroupwiseGemmPlugin",
      .version = "1",
      .domain = "trt",
      .prefix = "int4_gemm",
      .doc = "Activations times the transpose of a 4-bit groupwise-quantized weight matrix.",
      .attributes =
          {integer("gemm_n", true, 1, "output features N"),
           integer("gemm_k", true, 1, "input features K, a multiple of group_size"),
           integer("group_size", true, 1, "weights per scale along K: 32, 64 or 128"),
           integer("has_zero_points", false, 0, "1: the input zero_points is present"),
           integer("has_bias", false, 0, "1: the input bias is present"),
           {"weight_layout",
            AttributeType::kString,
            false,
            std::string("edgellm_v1"),
            {"edgellm_v1", "cpu_v1", "cuda_v1"},
            0,
            "placement of weights, scales and zero points"},
           {"compute_mode",
            AttributeType::kString,
            false,
            std::string("auto"),
            {"auto", "exact", "int8"},
            0,
            "exact: activations as they are; int8: rounded per row and group; auto: the faster"},
           integer("swiglu", false, 0,
                   "1: weight rows are a gate, then up, N/2 each; the output is silu(gate) * up, "
                   "[B, S, N/2]")},
      .inputs = {{"activations", kActivation, "[B, S, K]", "", "or [M, K]"},
                 {"weights", kBytes, "per weight_layout; edgellm_v1: [N/2, K]", "",
                  "two 4-bit weights a byte"},
                 {"scales", kActivation, "per weight_layout; edgellm_v1: [K/G, N]", "",
                  "one per group and output feature"},
                 {"zero_points", kBytes, "as scales", "has_zero_points", "values 0..15; absent: 8"},
                 {"bias", kActivation, "[N]", "has_bias", "type of the activations"}},
      .outputs = {{"output", kActivation, "[B, S, N]", "", "type of the activations"}},
      .aliases = {},
  };
}

const TensorSpec& spec_of(Int4GemmInput input) {
  return int4_gemm_schema().inputs[static_cast<std::size_t>(input)];
}

}  // namespace

const char* name_of(WeightLayout layout) {
  switch (layout) {
    case WeightLayout::kEdgeLlmV1:
      return "edgellm_v1";
    case WeightLayout::kCpuV1:
      return "cpu_v1";
    case WeightLayout::kCudaV1:
      return "cuda_v1";
  }
  return "unknown";
}

const char* name_of(ComputeMode mode) {
  switch (mode) {
    case ComputeMode::kAuto:
      return "auto";
    case ComputeMode::kExact:
      return "exact";
    case ComputeMode::kInt8:
      return "int8";
  }
  return "unknown";
}

const OpSchema& int4_gemm_schema() {
  static const OpSchema schema = make_schema();
  return schema;
}

Result<Int4GemmAttributes> parse_int4_gemm_attributes(std::span<const Attribute> given) {
  Result<A> parsed = parse_attributes<A>(int4_gemm_schema(), kBindings, given);
  if (parsed.ok()) {
    DOVETAIL_RETURN_IF_ERROR(validate(*parsed));
  }
  return parsed;
}

std::vector<Attribute> list_attributes(const Int4GemmAttributes& attributes) {
  return list_attributes<A>(int4_gemm_schema(), kBindings, attributes);
}

Int4GemmInputMap int4_gemm_inputs(const Int4GemmAttributes& attributes) {
  const std::vector<int> positions =
      input_positions(int4_gemm_schema(), [&](std::string_view group) {
        return group == "has_bias" ? attributes.has_bias != 0 : attributes.has_zero_points != 0;
      });
  Int4GemmInputMap map{};
  for (int i = 0; i < kInt4GemmInputs; ++i) {
    map.position[i] = positions[static_cast<std::size_t>(i)];
    map.count += map.position[i] >= 0;
  }
  return map;
}

Int4GemmBuffers int4_gemm_buffers(const Int4GemmInputMap& map, const void* const* inputs,
                                  void* const* outputs, void* workspace) {
  using In = Int4GemmInput;
  const auto at = [&](In input) { return map[input] < 0 ? nullptr : inputs[map[input]]; };
  return {.activations = at(In::kActivations),
          .weights = at(In::kWeights),
          .scales = at(In::kScales),
          .zero_points = at(In::kZeroPoints),
          .bias = at(In::kBias),
          .output = outputs[0],
          .workspace = workspace};
}

Status validate(const Int4GemmAttributes& a) {
  if (a.group_size != 32 && a.group_size != 64 && a.group_size != 128) {
    return unsupported("int4_gemm: group_size is ", a.group_size, ", expected 32, 64 or 128");
  }
  if (a.gemm_n < 1) {
    return invalid_argument("int4_gemm: gemm_n is ", a.gemm_n, ", expected at least 1");
  }
  if (a.gemm_k < 1 || a.gemm_k % a.group_size != 0) {
    return invalid_argument("int4_gemm: gemm_k is ", a.gemm_k,
                            ", expected a positive multiple of group_size = ", a.group_size);
  }
  for (const auto& [name, flag] :
       {std::pair("has_zero_points", a.has_zero_points), std::pair("has_bias", a.has_bias),
        std::pair("swiglu", a.swiglu)}) {
    if (flag != 0 && flag != 1) {
      return invalid_argument("int4_gemm: attribute ", name, " is ", flag, ", expected 0 or 1");
    }
  }
  if (a.swiglu != 0 && a.gemm_n % 2 != 0) {
    return invalid_argument("int4_gemm: gemm_n is ", a.gemm_n,
                            ", expected an even number with swiglu = 1");
  }
  return Status::success();
}

Status validate(const Int4GemmProblem& p) {
  DOVETAIL_RETURN_IF_ERROR(validate(p.attributes));
  DOVETAIL_RETURN_IF_ERROR(
      check_type(int4_gemm_schema(), spec_of(Int4GemmInput::kActivations), p.activation_type));
  DOVETAIL_RETURN_IF_ERROR(
      check_type(int4_gemm_schema(), spec_of(Int4GemmInput::kScales), p.scale_type));
  if (p.m < 0) {
    return invalid_argument("int4_gemm: M is ", p.m, ", expected at least 0");
  }
  return Status::success();
}

Shape weights_shape(const Int4GemmAttributes& a) {
  return int4_weights_shape(a.weight_layout, a.gemm_n, a.gemm_k);
}

Shape scales_shape(const Int4GemmAttributes& a) {
  return int4_scales_shape(a.weight_layout, a.gemm_n, a.gemm_k, a.group_size);
}

Status check_int4_gemm_inputs(const Int4GemmAttributes& attributes,
                              std::span<const TensorDesc> tensors) {
  DOVETAIL_RETURN_IF_ERROR(validate(attributes));
  const OpSchema& schema = int4_gemm_schema();
  const Int4GemmInputMap map = int4_gemm_inputs(attributes);
  if (static_cast<int>(tensors.size()) != map.count) {
    return invalid_argument("int4_gemm: ", tensors.size(), " inputs, expected ", map.count,
                            " with has_zero_points = ", attributes.has_zero_points,
                            ", has_bias = ", attributes.has_bias);
  }
  for (int i = 0; i < kInt4GemmInputs; ++i) {
    const auto input = static_cast<Int4GemmInput>(i);
    if (map[input] >= 0) {
      DOVETAIL_RETURN_IF_ERROR(
          check_type(schema, spec_of(input), tensors[static_cast<std::size_t>(map[input])].type));
    }
  }
  const TensorDesc& activations = tensors[0];
  const int rank = activations.shape.rank();
  if (rank != 0 && ((rank != 2 && rank != 3) ||
                    (activations.shape[-1] != attributes.gemm_k && activations.shape[-1] >= 0))) {
    return invalid_argument("int4_gemm: activations is ", activations.shape,
                            ", expected [B, S, K] or [M, K] with K = gemm_k = ", attributes.gemm_k);
  }
  const auto expect = [&](Int4GemmInput input, const Shape& expected) {
    if (map[input] >= 0) {
      const Shape& got = tensors[static_cast<std::size_t>(map[input])].shape;
      if (!may_equal(got, expected)) {
        return wrong_shape(schema, spec_of(input), got, expected);
      }
    }
    return Status::success();
  };
  DOVETAIL_RETURN_IF_ERROR(expect(Int4GemmInput::kWeights, weights_shape(attributes)));
  DOVETAIL_RETURN_IF_ERROR(expect(Int4GemmInput::kScales, scales_shape(attributes)));
  DOVETAIL_RETURN_IF_ERROR(expect(Int4GemmInput::kZeroPoints, scales_shape(attributes)));
  DOVETAIL_RETURN_IF_ERROR(expect(Int4GemmInput::kBias, {attributes.gemm_n}));
  if (attributes.has_bias != 0) {
    const DataType bias = tensors[static_cast<std::size_t>(map[Int4GemmInput::kBias])].type;
    if (bias != activations.type) {
      return invalid_argument("int4_gemm: bias is ", bias, ", expected the type of activations, ",
                              activations.type);
    }
  }
  return Status::success();
}

Result<Int4GemmProblem> describe_int4_gemm(const Int4GemmAttributes& attributes,
                                           std::span<const TensorDesc> tensors) {
  DOVETAIL_RETURN_IF_ERROR(check_int4_gemm_inputs(attributes, tensors));
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    if (tensors[i].shape.rank() == 0) {
      return invalid_argument("int4_gemm: input ", i, " is a scalar, expected a tensor");
    }
  }
  const TensorDesc& activations = tensors[0];
  return Int4GemmProblem{.attributes = attributes,
                         .activation_type = activations.type,
                         .scale_type = tensors[2].type,
                         .m = activations.shape.count() / attributes.gemm_k};
}

SwigluProblem swiglu_of(const Int4GemmProblem& p) {
  return {.attributes = {static_cast<std::int32_t>(p.attributes.width())},
          .activation_type = p.activation_type,
          .m = p.m};
}

Cost int4_gemm_cost(const Int4GemmProblem& p) {
  const double m = static_cast<double>(p.m);
  const double n = p.attributes.gemm_n, width = static_cast<double>(p.attributes.width());
  const double k = p.attributes.gemm_k;
  const double groups = static_cast<double>(scales_shape(p.attributes).count());
  const double act = static_cast<double>(size_of(p.activation_type));
  return {.flops = 2 * m * n * k,
          .bytes = static_cast<double>(weights_shape(p.attributes).count()) +
                   groups * static_cast<double>(size_of(p.scale_type)) +
                   (p.attributes.has_zero_points ? groups : 0.0) + (m * k + m * width) * act};
}

}  // namespace dovetail
