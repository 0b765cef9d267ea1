// SPDX-License-Identifier: Apache-2.0
// One batch of lanes on a TensorRT engine: the caches, the inputs and logits in GPU memory, and one
// execution context for each profile. See tensorrt_engine.h.
#pragma once

#include <memory>

#include "runtime/engine.h"
#include "runtime/tensorrt_library.h"

namespace dovetail {

Result<std::unique_ptr<EngineContext>> make_tensorrt_context(nvinfer1::ICudaEngine& engine,
                                                             TensorRtLogger& logger,
                                                             const Package& package,
                                                             std::int64_t batch);

}  // namespace dovetail
