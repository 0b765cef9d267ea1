// SPDX-License-Identifier: Apache-2.0
// An engine folder of `dovetail build` in TensorRT. Two optimisation profiles share the caches and
// the scratch memory: profile 0 takes prompts, profile 1 one token per lane or a tree. Each layer's
// cache is one piece of GPU memory, bound as past and as present.
#pragma once

#include <memory>

#include "runtime/engine.h"

namespace dovetail {

Result<std::unique_ptr<Engine>> open_tensorrt_engine(const Package& package,
                                                     const EngineOptions& options);

}  // namespace dovetail
