// SPDX-License-Identifier: Apache-2.0
// What V3 and V2 share: format negotiation, output types, output shapes, and checks.
#pragma once

#include <span>

#include "tensorrt/operator.h"
#include "tensorrt/tensor_desc.h"

namespace dovetail::tensorrt {

// Wrong numbers of inputs or outputs. With no outputs to check: pass the operator's own count.
Status check_counts(const Operator& op, std::int32_t inputs, std::int32_t outputs);

// Whether the kernels take the type and format at the end of `tensors` behind those before it.
bool supports_format(const Operator& op, std::span<const nvinfer1::PluginTensorDesc> tensors);

// Fills the symbolic shape of one output.
Status output_shape(const Operator& op, std::size_t output, const nvinfer1::DimsExprs* in,
                    nvinfer1::IExprBuilder& builder, nvinfer1::DimsExprs& out);

}  // namespace dovetail::tensorrt
