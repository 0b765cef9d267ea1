// SPDX-License-Identifier: Apache-2.0
// Memory of ours as ONNX Runtime's tensors.
#pragma once

#include "dovetail/tensor.h"
#include "runtime/onnxruntime_handles.h"

namespace dovetail {

// `memory` says where `data` lies. It is not written unless the tensor is bound as an output.
Result<OrtOwner<OrtValue>> tensor_over(const OrtApi& api, const OrtMemoryInfo* memory,
                                       DataType type, const Shape& shape, const void* data);

}  // namespace dovetail
