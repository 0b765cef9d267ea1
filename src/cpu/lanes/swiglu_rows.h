// SPDX-License-Identifier: Apache-2.0
// silu(gate) * up on lanes. Include after a tier's float_vector.h and attention_math.h; internal
// linkage, one copy per tier.
#pragma once

#include "cpu/swiglu_kernels.h"

namespace dovetail {
namespace {

// With e = exp(-|g|) no exponential overflows: sigmoid(g) = 1 / (1 + e), or e / (1 + e) for g < 0.
DOVETAIL_ALWAYS_INLINE Vec silu_times(Vec gate, Vec up) {
  const Vec e = exp2_lanes(mul(magnitude(gate), splat(-1.44269504f)));
  const Vec numerator = where_below(gate, zero(), e, splat(1.0f));
  const Vec sigmoid = divide(numerator, add(splat(1.0f), e));
  return mul(mul(gate, sigmoid), up);
}

template <class T>
DOVETAIL_ALWAYS_INLINE void swiglu_row(const T* gate, const T* up, T* out, std::int64_t count) {
  std::int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    store(out + i, silu_times(load(gate + i), load(up + i)));
  }
  if (i < count) {  // the rest through one padded vector
    T padded[3][kLanes] = {};
    const std::int64_t rest = count - i;
    for (std::int64_t j = 0; j < rest; ++j) {
      padded[0][j] = gate[i + j];
      padded[1][j] = up[i + j];
    }
    store(padded[2], silu_times(load(padded[0]), load(padded[1])));
    for (std::int64_t j = 0; j < rest; ++j) {
      out[i + j] = padded[2][j];
    }
  }
}

void swiglu(const void* gate, const void* up, void* out, std::int64_t count, DataType type) {
  if (type == DataType::kFloat32) {
    swiglu_row(static_cast<const float*>(gate), static_cast<const float*>(up),
               static_cast<float*>(out), count);
  } else if (type == DataType::kFloat16) {
    swiglu_row(static_cast<const Half*>(gate), static_cast<const Half*>(up),
               static_cast<Half*>(out), count);
  } else {
    swiglu_row(static_cast<const Brain*>(gate), static_cast<const Brain*>(up),
               static_cast<Brain*>(out), count);
  }
}

}  // namespace
}  // namespace dovetail
