// SPDX-License-Identifier: Apache-2.0
#include "tensorrt/format.h"

#include <type_traits>

#include "ops/message.h"

namespace dovetail::tensorrt {
namespace {

using DimInteger = std::remove_extent_t<decltype(nvinfer1::Dims::d)>;

}  // namespace

Status check_counts(const Operator& op, std::int32_t inputs, std::int32_t outputs) {
  const OpSchema& schema = op.schema();
  if (inputs != op.input_count()) {
    return invalid_argument(schema.prefix, ": ", inputs, " inputs, expected ", op.input_count(),
                            " with these attributes");
  }
  if (outputs != static_cast<std::int32_t>(schema.outputs.size())) {
    return invalid_argument(schema.prefix, ": ", outputs, " outputs, expected ",
                            schema.outputs.size());
  }
  return Status::success();
}

bool supports_format(const Operator& op, std::span<const nvinfer1::PluginTensorDesc> tensors) {
  std::vector<DataType> types;
  for (const nvinfer1::PluginTensorDesc& tensor : tensors) {
    const std::optional<DataType> type = data_type(tensor.type);
    if (tensor.format != nvinfer1::TensorFormat::kLINEAR || !type.has_value()) {
      return false;
    }
    types.push_back(*type);
  }
  return op.supports_type(static_cast<int>(types.size()) - 1, types, types.back());
}

Status output_shape(const Operator& op, std::size_t output, const nvinfer1::DimsExprs* in,
                    nvinfer1::IExprBuilder& builder, nvinfer1::DimsExprs& out) {
  const OutputRule rule = op.output_rules(in[0].nbDims)[output];
  out.nbDims = static_cast<std::int32_t>(rule.dims.size());
  for (std::size_t d = 0; d < rule.dims.size(); ++d) {
    const OutputDim& dim = rule.dims[d];
    if (dim.input >= 0 && dim.dim >= in[dim.input].nbDims) {
      const TensorSpec& spec = op.input_spec(dim.input);
      return invalid_argument(op.schema().prefix, ": ", spec.name, " has rank ",
                              in[dim.input].nbDims, ", expected ", spec.shape);
    }
    out.d[d] = dim.input < 0 ? builder.constant(static_cast<DimInteger>(dim.constant))
                             : in[dim.input].d[dim.dim];
  }
  return Status::success();
}

}  // namespace dovetail::tensorrt
