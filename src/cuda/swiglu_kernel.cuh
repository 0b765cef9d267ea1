// SPDX-License-Identifier: Apache-2.0
// The SwiGLU kernel. Grid: x over the columns of a row, y over the rows. Math is fp32; the rounding
// to the storage type happens once, at the end.
#pragma once

#include <bit>

#include "cuda/ptx.cuh"
#include "cuda/swiglu_plan.h"

namespace dovetail::cuda {

struct SwigluArguments {
  const void* gate_up;  // [M, 2 * I]
  void* output;         // [M, I]
  int64_t m, width;     // I
};

// gate * sigmoid(gate) * up. An exponential beyond fp32 is infinite and makes the product zero.
DOVETAIL_DEVICE float gated(float gate, float up) {
  constexpr float kLog2E = 1.44269504088896341f;
  return gate / (1.0f + ptx::exp2_fast(-gate * kLog2E)) * up;
}

template <class T>
DOVETAIL_DEVICE uint32_t gated_pair(uint32_t gate, uint32_t up) {
  const ptx::Float2 g = ptx::unpack2<T>(gate);
  const ptx::Float2 u = ptx::unpack2<T>(up);
  return ptx::pack2<T>(gated(g.x, u.x), gated(g.y, u.y));
}

template <>
DOVETAIL_DEVICE uint32_t gated_pair<float>(uint32_t gate, uint32_t up) {  // one element
  return std::bit_cast<uint32_t>(gated(std::bit_cast<float>(gate), std::bit_cast<float>(up)));
}

template <class T, bool kVectors>
DOVETAIL_KERNEL(kSwigluThreads)
swiglu_kernel(const DOVETAIL_GRID_CONSTANT SwigluArguments p) {
  ptx::let_next_kernel_start();
  ptx::wait_for_previous_kernel();
  constexpr int64_t kStep = kVectors ? 16 / sizeof(T) : 1;
  const int64_t column =
      (int64_t{ptx::block_index().x} * kSwigluThreads + ptx::thread_index().x) * kStep;
  if (column >= p.width) return;
  for (int64_t row = ptx::block_index().y; row < p.m; row += ptx::grid_size().y) {
    const T* gate = static_cast<const T*>(p.gate_up) + row * 2 * p.width + column;
    T* output = static_cast<T*>(p.output) + row * p.width + column;
    if constexpr (kVectors) {
      const ptx::Vec4 g = ptx::load_stream_16(gate);
      const ptx::Vec4 u = ptx::load_stream_16(gate + p.width);
      *reinterpret_cast<ptx::Vec4*>(output) = {gated_pair<T>(g.x, u.x), gated_pair<T>(g.y, u.y),
                                               gated_pair<T>(g.z, u.z), gated_pair<T>(g.w, u.w)};
    } else {
      const float value = gated(ptx::to_float(gate[0]), ptx::to_float(gate[p.width]));
      if constexpr (std::is_same_v<T, float>) {
        *output = value;
      } else {
        *output = ptx::round_to<T>(value);
      }
    }
  }
}

}  // namespace dovetail::cuda
