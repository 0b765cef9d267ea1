// SPDX-License-Identifier: Apache-2.0
// The decoder graph in ONNX Runtime, on its CPU or its CUDA provider, with Dovetail's operators
// registered as a custom-op library. External weights are memory-mapped by ONNX Runtime; the RoPE
// table is bound as it lies in the package's mapping; each layer's cache is one OrtValue, bound as
// past and as present, which the attention operator updates in place.
#pragma once

#include <memory>

#include "runtime/engine.h"

namespace dovetail {

Result<std::unique_ptr<Engine>> open_onnxruntime_engine(const Package& package,
                                                        const EngineOptions& options);

}  // namespace dovetail
