// SPDX-License-Identifier: Apache-2.0
// One head of one new token on its way from qkv to the tensor cores or to the cache: RMSNorm, then
// RoPE, in fp32. A row is held by `lanes` neighbouring lanes of a warp, a chunk of 8 elements each.
//
// load_head asks for everything, without a branch, so that several rows can be on their way;
// finish_head computes. RoPE pairs elements R/2 apart: each lane reads its partner's elements once
// more instead of exchanging them. They come from L1, and no barrier is needed.
#pragma once

#include <bit>

#include "cuda/attention_element.cuh"
#include "cuda/attention_range.cuh"
#include "cuda/attention_tile.h"

namespace dovetail::cuda {

// 1 / sqrt(mean + eps) of a row's squares; all lanes of the warp call.
DOVETAIL_DEVICE float norm_of_squares(float squares, const AttentionArguments& p, int lanes) {
  for (int bit = lanes / 2; bit > 0; bit /= 2) {
    squares += ptx::shuffle_xor(squares, static_cast<uint32_t>(bit));
  }
  const float mean = squares * p.per_head_size + p.norm_eps;
  const float estimate = ptx::reciprocal_sqrt_fast(mean);
  return estimate * (1.5f - 0.5f * mean * estimate * estimate);  // one Newton step
}

DOVETAIL_DEVICE float norm_factor(const Chunk& x, const AttentionArguments& p, int lanes) {
  float squares = 0.0f;
  DOVETAIL_UNROLL
  for (float v : x.value) squares += v * v;
  return norm_of_squares(squares, p, lanes);
}

// x * factor * weight.
template <class T>
DOVETAIL_DEVICE void apply_norm(Chunk& x, float factor, const void* weight, int32_t first) {
  const Chunk w = load_chunk<T>(weight, first);
  DOVETAIL_UNROLL
  for (int i = 0; i < 8; ++i) x.value[i] *= factor * w.value[i];
}

// The place RoPE pairs with chunk `first`, and its angles; a chunk beyond R is its own partner.
DOVETAIL_DEVICE int32_t partner_of(const AttentionArguments& p, int32_t first) {
  const int32_t half = p.rotary / 2;
  return first >= p.rotary ? first : first < half ? first + half : first - half;
}

// Element of qkv where a head of a token begins. Heads count as there: Hq of Q, Hk of K, Hk of V.
DOVETAIL_DEVICE int64_t head_row(const AttentionArguments& p, const Lane& lane, int32_t token,
                                 int32_t head) {
  return ((int64_t{lane.index} * p.tokens + token) * (p.q_heads + 2 * p.kv_heads) + head) *
         p.head_size;
}
DOVETAIL_DEVICE const float* cos_sin_of(const AttentionArguments& p, const Lane& lane,
                                        int32_t position) {
  return p.rope + ((p.shared_rope ? 0 : lane.index * p.rope_rows) + position) * p.rotary;
}

struct RawHead {
  ptx::Vec4 x, partner;
  ptx::Float4 cosine[2], sine[2];
};

// Chunk `first` of the row at element `row` of qkv. R/2 is a multiple of 8, or nothing but x counts.
template <class T>
DOVETAIL_DEVICE RawHead load_head(const AttentionArguments& p, int64_t row, int32_t first,
                                  const float* cos_sin, bool rotates) {
  const auto* from = static_cast<const T*>(p.qkv) + row;
  RawHead raw{};
  raw.x = ptx::load_constant_16(from + first);
  if (!rotates) return raw;
  const int32_t half = p.rotary / 2;
  const int32_t angle = first >= p.rotary ? 0 : first < half ? first : first - half;
  raw.partner = ptx::load_constant_16(from + partner_of(p, first));
  DOVETAIL_UNROLL
  for (int i = 0; i < 2; ++i) {
    raw.cosine[i] = std::bit_cast<ptx::Float4>(ptx::load_constant_16(cos_sin + angle + 4 * i));
    raw.sine[i] = std::bit_cast<ptx::Float4>(ptx::load_constant_16(cos_sin + half + angle + 4 * i));
  }
  return raw;
}

// Two chunks of a row that RoPE turns with the same angles, in one lane: `lanes` = D / 16 lanes hold
// a row, so that many rows need few registers. Chunks beyond R go in pairs that are not turned.
struct ChunkPair {
  int32_t low, high;
  bool rotates;
};
DOVETAIL_DEVICE ChunkPair chunk_pair(const AttentionArguments& p, int32_t lane) {
  const int32_t half = p.rotary / 2, first = lane * 8;
  if (first < half) return {first, first + half, true};
  return {2 * first, 2 * first + 8, false};
}

struct RawPair {
  ptx::Vec4 low, high;
  ptx::Float4 cosine[2], sine[2];
};

// `angles` are those of chunk at.low.
DOVETAIL_DEVICE void load_angles(RawPair& raw, const AttentionArguments& p, const ChunkPair& at,
                                 const float* angles) {
  if (!at.rotates) return;
  DOVETAIL_UNROLL
  for (int i = 0; i < 2; ++i) {
    raw.cosine[i] = std::bit_cast<ptx::Float4>(ptx::load_constant_16(angles + 4 * i));
    raw.sine[i] = std::bit_cast<ptx::Float4>(ptx::load_constant_16(angles + p.rotary / 2 + 4 * i));
  }
}

template <class T>
DOVETAIL_DEVICE RawPair load_pair(const AttentionArguments& p, int64_t row, const ChunkPair& at,
                                  const float* cos_sin) {
  const auto* from = static_cast<const T*>(p.qkv) + row;
  RawPair raw{};
  if (at.low < p.head_size) raw.low = ptx::load_constant_16(from + at.low);
  if (at.high < p.head_size) raw.high = ptx::load_constant_16(from + at.high);
  load_angles(raw, p, at, cos_sin + at.low);
  return raw;
}

// Normed if there is a weight, and rotated: x[0] is the chunk at.low, x[1] at.high. All lanes of the
// warp call.
template <class T>
DOVETAIL_DEVICE void finish_pair(Chunk (&x)[2], const RawPair& raw, const AttentionArguments& p,
                                 const ChunkPair& at, const void* weight, int lanes) {
  x[0] = unpack_chunk<T>(raw.low), x[1] = unpack_chunk<T>(raw.high);
  if (p.q_norm_weight != nullptr) {
    float squares = 0.0f;
    DOVETAIL_UNROLL
    for (const Chunk& chunk : x) {
      DOVETAIL_UNROLL
      for (float v : chunk.value) squares += v * v;
    }
    const float factor = norm_of_squares(squares, p, lanes);
    if (weight != nullptr) {
      if (at.low < p.head_size) apply_norm<T>(x[0], factor, weight, at.low);
      if (at.high < p.head_size) apply_norm<T>(x[1], factor, weight, at.high);
    }
  }
  if (!at.rotates) return;
  DOVETAIL_UNROLL
  for (int i = 0; i < 2; ++i) {
    const float cosine[4] = {raw.cosine[i].x, raw.cosine[i].y, raw.cosine[i].z, raw.cosine[i].w};
    const float sine[4] = {raw.sine[i].x, raw.sine[i].y, raw.sine[i].z, raw.sine[i].w};
    DOVETAIL_UNROLL
    for (int j = 0; j < 4; ++j) {
      float &low = x[0].value[4 * i + j], &high = x[1].value[4 * i + j];
      const float turned = low * cosine[j] - high * sine[j];
      high = high * cosine[j] + low * sine[j];
      low = turned;
    }
  }
}

// RoPE where R/2 is not a multiple of 8, element by element.
template <class T>
DOVETAIL_DEVICE void rotate_unaligned(Chunk& x, const AttentionArguments& p, int64_t row,
                                      int32_t first, const float* cos_sin, float factor,
                                      const void* weight) {
  const int32_t half = p.rotary / 2;
  DOVETAIL_UNROLL
  for (int i = 0; i < 8; ++i) {
    const int32_t at = first + i;
    if (at >= p.rotary) break;
    const int32_t partner = at < half ? at + half : at - half;
    float y = ptx::to_float(static_cast<const T*>(p.qkv)[row + partner]);
    if (weight != nullptr) y *= factor * ptx::to_float(static_cast<const T*>(weight)[partner]);
    const float turned = y * cos_sin[at < half ? half + at : at];
    x.value[i] = x.value[i] * cos_sin[at < half ? at : partner] + (at < half ? -turned : turned);
  }
}

// The chunk that load_head asked for, ready for use; weight null: no norm. All lanes of the warp
// call, for rows that exist or not.
template <class T>
DOVETAIL_DEVICE Chunk finish_head(const RawHead& raw, const AttentionArguments& p, int32_t first,
                                  const void* weight, bool rotates, int lanes) {
  Chunk x = unpack_chunk<T>(raw.x);
  float factor = 1.0f;
  if (p.q_norm_weight != nullptr) {
    Chunk own = x;
    if (first >= p.head_size) own = {};
    factor = norm_factor(own, p, lanes);
    if (weight != nullptr && first < p.head_size) apply_norm<T>(x, factor, weight, first);
  }
  if (!rotates) return x;
  Chunk y = unpack_chunk<T>(raw.partner);
  if (weight != nullptr && first < p.head_size) {
    apply_norm<T>(y, factor, weight, partner_of(p, first));
  }
  const float sign = first < p.rotary / 2 ? -1.0f : 1.0f;
  const bool inside = first < p.rotary;
  DOVETAIL_UNROLL
  for (int i = 0; i < 2; ++i) {
    const float cosine[4] = {raw.cosine[i].x, raw.cosine[i].y, raw.cosine[i].z, raw.cosine[i].w};
    const float sine[4] = {raw.sine[i].x, raw.sine[i].y, raw.sine[i].z, raw.sine[i].w};
    DOVETAIL_UNROLL
    for (int j = 0; j < 4; ++j) {
      float& v = x.value[4 * i + j];
      const float turned = v * cosine[j] + sign * (y.value[4 * i + j] * sine[j]);
      v = inside ? turned : v;
    }
  }
  return x;
}

// Both steps for one row, any R; `exists` false: zeros.
template <class T>
DOVETAIL_DEVICE Chunk ready_chunk(const AttentionArguments& p, const Lane& lane, int32_t token,
                                  int32_t head, int32_t position, int32_t first, bool exists,
                                  int lanes) {
  const bool is_value = head >= p.q_heads + p.kv_heads, aligned = p.rotary % 16 == 0;
  const void* weight = is_value ? nullptr : head < p.q_heads ? p.q_norm_weight : p.k_norm_weight;
  const int64_t row = exists ? head_row(p, lane, token, head) : 0;
  const float* cos_sin = exists ? cos_sin_of(p, lane, position) : p.rope;
  RawHead raw{};
  if (exists) raw = load_head<T>(p, row, first, cos_sin, !is_value && aligned);
  Chunk x = finish_head<T>(raw, p, first, weight, !is_value && aligned, lanes);
  if (!aligned) {
    float factor = 1.0f;
    if (p.q_norm_weight != nullptr) factor = norm_factor(unpack_chunk<T>(raw.x), p, lanes);
    if (exists && !is_value) rotate_unaligned<T>(x, p, row, first, cos_sin, factor, weight);
  }
  return exists ? x : Chunk{};
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
