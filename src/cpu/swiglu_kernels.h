// SPDX-License-Identifier: Apache-2.0
// The SwiGLU kernel of a tier. Plain data only: tier objects include this and must not emit shared
// inline code.
#pragma once

#include <cstdint>

#include "dovetail/tensor.h"

namespace dovetail {

struct SwigluKernels {
  const char* tier;
  // out[i] = silu(gate[i]) * up[i] for i in [0, count), all of one type.
  void (*run)(const void* gate, const void* up, void* out, std::int64_t count, DataType type);
};

extern const SwigluKernels kSwigluGeneric;
extern const SwigluKernels kSwigluAvx2;
extern const SwigluKernels kSwigluAvx512;

}  // namespace dovetail
