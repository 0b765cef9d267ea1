// SPDX-License-Identifier: Apache-2.0
// Elements of the tensors: 8 at a time between memory and fp32, and pairs of E4M3 as pairs of the
// activation type for the tensor cores.
#pragma once

#include "cuda/attention_tile.h"
#include "cuda/ptx.cuh"

namespace dovetail::cuda {

struct Chunk {
  float value[8];
};

template <class T>
DOVETAIL_DEVICE Chunk unpack_chunk(const ptx::Vec4& v) {
  static_assert(sizeof(T) == 2);
  const uint32_t words[4] = {v.x, v.y, v.z, v.w};
  Chunk x;
  DOVETAIL_UNROLL
  for (int i = 0; i < 4; ++i) {
    const ptx::Float2 pair = ptx::unpack2<T>(words[i]);
    x.value[2 * i] = pair.x;
    x.value[2 * i + 1] = pair.y;
  }
  return x;
}

// `index` counts elements; the address is 16-byte aligned.
template <class T>
DOVETAIL_DEVICE Chunk load_chunk(const void* base, int64_t index) {
  return unpack_chunk<T>(ptx::load_constant_16(static_cast<const T*>(base) + index));
}

template <class T>
DOVETAIL_DEVICE void store_chunk(void* base, int64_t index, const Chunk& x) {
  auto* to = static_cast<T*>(base) + index;
  const float(&v)[8] = x.value;
  if constexpr (sizeof(T) == 2) {
    *reinterpret_cast<ptx::Vec4*>(to) = {ptx::pack2<T>(v[0], v[1]), ptx::pack2<T>(v[2], v[3]),
                                         ptx::pack2<T>(v[4], v[5]), ptx::pack2<T>(v[6], v[7])};
  } else {
    const uint32_t low[2] = {ptx::pack2_e4m3(v[0], v[1]), ptx::pack2_e4m3(v[4], v[5])};
    const uint32_t high[2] = {ptx::pack2_e4m3(v[2], v[3]), ptx::pack2_e4m3(v[6], v[7])};
    *reinterpret_cast<ptx::Vec2*>(to) = {low[0] | high[0] << 16, low[1] | high[1] << 16};
  }
}

// Two E4M3 (element 0 in the low byte) to two T; exact.
template <class T>
DOVETAIL_DEVICE uint32_t e4m3_to_pair(uint32_t v) {
  const uint32_t halves = ptx::e4m3_to_half2(static_cast<uint16_t>(v));
  if constexpr (ptx::kIsHalf<T>) return halves;
  const ptx::Float2 pair = ptx::unpack2<ptx::Half>(halves);
  return ptx::pack2<T>(pair.x, pair.y);
}

}  // namespace dovetail::cuda
