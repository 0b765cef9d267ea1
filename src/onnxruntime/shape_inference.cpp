// SPDX-License-Identifier: Apache-2.0
#include "onnxruntime/shape_inference.h"

#include <algorithm>
#include <atomic>
#include <memory>
#include <optional>
#include <string>

#include "onnxruntime/status.h"

namespace dovetail::ort {
namespace {

struct GraphInput {
  ONNXTensorElementDataType type = ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED;
  std::vector<std::int64_t> dims;  // empty: nothing is known, no input is a scalar
  std::vector<const char*> symbols;
};

// Nothing for an input that the node leaves out.
std::optional<GraphInput> read(const OrtApi& api, OrtShapeInferContext* context,
                               std::size_t index) {
  OrtTensorTypeAndShapeInfo* info = nullptr;  // stays the context's
  GraphInput input;
  std::size_t rank = 0;
  if (!from_ort(api, api.ShapeInferContext_GetInputTypeShape(context, index, &info)).ok() ||
      !from_ort(api, api.GetTensorElementType(info, &input.type)).ok() ||
      !from_ort(api, api.GetDimensionsCount(info, &rank)).ok()) {
    return std::nullopt;
  }
  input.dims.resize(rank);
  input.symbols.resize(rank);
  if (rank > 0 &&
      (!from_ort(api, api.GetDimensions(info, input.dims.data(), rank)).ok() ||
       !from_ort(api, api.GetSymbolicDimensions(info, input.symbols.data(), rank)).ok())) {
    return std::nullopt;
  }
  return input;
}

std::optional<AttributeValue> read(const OrtApi& api, OrtShapeInferContext* context,
                                   const AttributeSpec& spec) {
  const OrtOpAttr* attribute = nullptr;
  if (!from_ort(api, api.ShapeInferContext_GetAttribute(context, spec.name, &attribute)).ok()) {
    return std::nullopt;
  }
  std::size_t size = 0;
  std::int64_t integer = 0;
  float real = 0;
  switch (spec.type) {
    case AttributeType::kInt:
      if (from_ort(api, api.ReadOpAttr(attribute, ORT_OP_ATTR_INT, &integer, sizeof integer, &size))
              .ok()) {
        return integer;
      }
      break;
    case AttributeType::kFloat:
      if (from_ort(api, api.ReadOpAttr(attribute, ORT_OP_ATTR_FLOAT, &real, sizeof real, &size))
              .ok()) {
        return static_cast<double>(real);
      }
      break;
    case AttributeType::kString: {
      std::string text(64, '\0');  // longer than every accepted value
      if (from_ort(api,
                   api.ReadOpAttr(attribute, ORT_OP_ATTR_STRING, text.data(), text.size(), &size))
              .ok()) {
        return std::string(text.c_str());
      }
      break;
    }
  }
  return std::nullopt;
}

// A dimension of which nothing is known needs a name that no other has.
std::string fresh_symbol() {
  static std::atomic<unsigned> count{0};
  return "dovetail_unknown_" + std::to_string(count.fetch_add(1));
}

Status write(const OrtApi& api, OrtShapeInferContext* context, std::size_t index,
             const OutputRule& rule, std::span<const GraphInput> inputs) {
  std::vector<std::int64_t> dims;
  std::vector<std::string> symbols;
  for (const OutputDim& rule_dim : rule.dims) {
    std::int64_t dim = rule_dim.constant;
    std::string symbol;
    if (rule_dim.input >= 0) {
      const GraphInput& source = inputs[static_cast<std::size_t>(rule_dim.input)];
      const auto i = static_cast<std::size_t>(rule_dim.dim);
      dim = i < source.dims.size() ? source.dims[i] : -1;
      symbol = i < source.dims.size() ? source.symbols[i] : "";
    }
    const bool known = dim > 0;  // a constant 0 comes from an attribute that could not be read
    dims.push_back(known ? dim : -1);
    symbols.push_back(known ? "" : symbol.empty() ? fresh_symbol() : symbol);
  }
  std::vector<const char*> names;
  for (const std::string& symbol : symbols) {
    names.push_back(symbol.c_str());
  }
  OrtTensorTypeAndShapeInfo* info = nullptr;
  DOVETAIL_RETURN_IF_ERROR(from_ort(api, api.CreateTensorTypeAndShapeInfo(&info)));
  const std::shared_ptr<OrtTensorTypeAndShapeInfo> owner(info, api.ReleaseTensorTypeAndShapeInfo);
  DOVETAIL_RETURN_IF_ERROR(from_ort(
      api,
      api.SetTensorElementType(info, inputs[static_cast<std::size_t>(rule.type_of_input)].type)));
  DOVETAIL_RETURN_IF_ERROR(from_ort(api, api.SetDimensions(info, dims.data(), dims.size())));
  DOVETAIL_RETURN_IF_ERROR(
      from_ort(api, api.SetSymbolicDimensions(info, names.data(), names.size())));
  return from_ort(api, api.ShapeInferContext_SetOutputTypeShape(context, index, info));
}

}  // namespace

Status infer_shapes(const OrtApi& api, OrtShapeInferContext* context, const OpSchema& schema,
                    RulesOf rules_of) {
  std::vector<Attribute> given;
  for (const AttributeSpec& spec : schema.attributes) {
    if (std::optional<AttributeValue> value = read(api, context, spec)) {
      given.push_back({spec.name, *std::move(value)});
    }
  }
  std::size_t count = 0;
  DOVETAIL_RETURN_IF_ERROR(from_ort(api, api.ShapeInferContext_GetInputCount(context, &count)));
  std::vector<GraphInput> inputs;
  for (std::size_t i = 0; i < std::max(count, schema.inputs.size()); ++i) {
    inputs.push_back((i < count ? read(api, context, i) : std::nullopt).value_or(GraphInput{}));
  }
  const std::vector<OutputRule> rules = rules_of(given, static_cast<int>(inputs[0].dims.size()));
  for (std::size_t i = 0; i < rules.size(); ++i) {
    DOVETAIL_RETURN_IF_ERROR(write(api, context, i, rules[i], inputs));
  }
  return Status::success();
}

}  // namespace dovetail::ort
