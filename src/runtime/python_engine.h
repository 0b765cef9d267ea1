// SPDX-License-Identifier: Apache-2.0
// An engine folder of `dovetail build` in TensorRT's Python module, in a process of its own
// (python/dovetail/run): for TensorRT for RTX, which has no other way in, and for full TensorRT
// when Dovetail was built without its headers. Inputs and logits travel over a socket; caches stay
// in the child's GPU memory.
#pragma once

#include <memory>

#include "runtime/engine.h"

namespace dovetail {

Result<std::unique_ptr<Engine>> open_python_engine(const Package& package,
                                                   const EngineOptions& options);

}  // namespace dovetail
