// SPDX-License-Identifier: Apache-2.0
// ONNX Runtime's CUDA provider for a session: appended to its options, or the one sentence that
// says what is missing here. ONNX Runtime itself only logs that reason.
#pragma once

#include "runtime/onnxruntime_library.h"

namespace dovetail {

// `graphs`: steps may be recorded as CUDA graphs; every node must then run on the GPU.
Status append_cuda_provider(const OnnxRuntimeLibrary& library, OrtSessionOptions* options,
                            bool graphs);

}  // namespace dovetail
