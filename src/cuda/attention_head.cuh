// SPDX-License-Identifier: Apache-2.0
// One head of one new token on its way from qkv to the tensor cores or to the cache: RMSNorm, then
// RoPE, in fp32. A row is held by `lanes` neighbouring lanes of a warp, a chunk of 8 elements each.
//
// RoPE pairs elements R/2 apart. Each lane reads its partner's elements once more instead of
// exchanging them: they come from L1, and no shared memory and no barrier is needed.
#pragma once

#include <bit>

#include "cuda/attention_element.cuh"
#include "cuda/attention_range.cuh"
#include "cuda/attention_tile.h"

namespace dovetail::cuda {

// 1 / sqrt(mean(x^2) + eps) over the row; all lanes of the warp call.
DOVETAIL_DEVICE float norm_factor(const Chunk& x, const AttentionArguments& p, int lanes) {
  float squares = 0.0f;
  DOVETAIL_UNROLL
  for (float v : x.value) squares += v * v;
  for (int bit = lanes / 2; bit > 0; bit /= 2) {
    squares += ptx::shuffle_xor(squares, static_cast<uint32_t>(bit));
  }
  const float mean = squares * p.per_head_size + p.norm_eps;
  const float estimate = ptx::reciprocal_sqrt_fast(mean);
  return estimate * (1.5f - 0.5f * mean * estimate * estimate);  // one Newton step
}

// x * factor, or x * factor * weight.
template <class T>
DOVETAIL_DEVICE void apply_norm(Chunk& x, float factor, const void* weight, int32_t first) {
  const Chunk w = load_chunk<T>(weight, first);
  DOVETAIL_UNROLL
  for (int i = 0; i < 8; ++i) x.value[i] *= factor * w.value[i];
}

// Rotates chunk `first` of the row at element `row` of qkv; cos_sin holds R/2 cosines, then R/2
// sines. `weight` null: no norm. With Whole, R/2 is known to be a multiple of 8.
template <class T, bool Whole>
DOVETAIL_DEVICE void rotate(Chunk& x, const AttentionArguments& p, int64_t row, int32_t first,
                            const float* cos_sin, float factor, const void* weight) {
  const int32_t half = p.rotary / 2;
  if (Whole || half % 8 == 0) {
    if (first >= p.rotary) return;
    const bool low = first < half;
    const int32_t partner = low ? first + half : first - half, angle = low ? first : partner;
    Chunk y = load_chunk<T>(p.qkv, row + partner);
    if (weight != nullptr) apply_norm<T>(y, factor, weight, partner);
    DOVETAIL_UNROLL
    for (int i = 0; i < 8; i += 4) {
      const auto c = std::bit_cast<ptx::Float4>(ptx::load_constant_16(cos_sin + angle + i));
      const auto s = std::bit_cast<ptx::Float4>(ptx::load_constant_16(cos_sin + half + angle + i));
      const float cosine[4] = {c.x, c.y, c.z, c.w}, sine[4] = {s.x, s.y, s.z, s.w};
      DOVETAIL_UNROLL
      for (int j = 0; j < 4; ++j) {
        const float turned = y.value[i + j] * sine[j];
        x.value[i + j] = x.value[i + j] * cosine[j] + (low ? -turned : turned);
      }
    }
  } else {
    DOVETAIL_UNROLL
    for (int i = 0; i < 8; ++i) {
      const int32_t at = first + i;
      if (at >= p.rotary) break;
      const int32_t partner = at < half ? at + half : at - half;
      float y = ptx::to_float(static_cast<const T*>(p.qkv)[row + partner]);
      if (weight != nullptr) {
        y *= factor * ptx::to_float(static_cast<const T*>(weight)[partner]);
      }
      const float turned = y * cos_sin[at < half ? half + at : at];
      x.value[i] = x.value[i] * cos_sin[at < half ? at : partner] + (at < half ? -turned : turned);
    }
  }
}

// Chunk `first` of head `head` of a token that is no padding (`exists` false: zeros), ready for
// use. All lanes of the warp call. Heads count as in qkv: Hq of Q, Hk of K, Hk of V.
template <class T, bool Whole = false>
DOVETAIL_DEVICE Chunk ready_chunk(const AttentionArguments& p, const Lane& lane, int32_t token,
                                  int32_t head, int32_t position, int32_t first, bool exists,
                                  int lanes) {
  const int32_t heads = p.q_heads + 2 * p.kv_heads;
  const int64_t row =
      ((int64_t{lane.index} * p.tokens + token) * heads + head) * p.head_size;
  Chunk x{};
  if (exists) x = load_chunk<T>(p.qkv, row + first);
  const bool is_value = head >= p.q_heads + p.kv_heads;
  const void* weight = head < p.q_heads ? p.q_norm_weight : p.k_norm_weight;
  float factor = 1.0f;
  if (p.q_norm_weight != nullptr) factor = norm_factor(x, p, lanes);
  if (!exists || is_value) return x;
  if (weight != nullptr) apply_norm<T>(x, factor, weight, first);
  const int64_t table = p.shared_rope ? 0 : lane.index;
  rotate<T, Whole>(x, p, row, first, p.rope + (table * p.rope_rows + position) * p.rotary, factor, weight);
  return x;
}

// A K (part 0) or V (part 1) chunk to the cache's type, in real values over the cache's scale.
template <class Cache>
DOVETAIL_DEVICE void scale_for_cache(Chunk& x, const AttentionArguments& p, int part) {
  if constexpr (sizeof(Cache) == 1) {
    const float factor = 1.0f / p.kv_scales[part];
    DOVETAIL_UNROLL
    for (float& v : x.value) v *= factor;
  }
}

}  // namespace dovetail::cuda
