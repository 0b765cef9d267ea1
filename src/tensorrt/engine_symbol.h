// SPDX-License-Identifier: Apache-2.0
// Functions that TensorRT's library exports, found in the process without linking it.
#pragma once

namespace dovetail::tensorrt {

// Null when no TensorRT is loaded. Looks in the global symbols first, then in a libnvinfer that was
// loaded privately, as Python and servers with back ends do.
void* engine_symbol(const char* name) noexcept;

}  // namespace dovetail::tensorrt
