// SPDX-License-Identifier: Apache-2.0
// One row (head of a token) at a time: widen to fp32, RMSNorm, RoPE, store in a cache or activation
// type; which keys a row sees; and the prepare phase, which is made of these. Include after
// attention_math.h.
#pragma once

#include "cpu/lanes/attention_math.h"

namespace dovetail {
namespace {

// Calls body with a value of the storage type, for its type.
template <class Body>
DOVETAIL_ALWAYS_INLINE void with_type(DataType type, Body body) {
  switch (type) {
    case DataType::kFloat32:
      return body(float{});
    case DataType::kFloat16:
      return body(Half{});
    case DataType::kBFloat16:
      return body(Brain{});
    default:
      return body(E4m3{});
  }
}

DOVETAIL_ALWAYS_INLINE std::int64_t bytes_of(DataType type) {
  return type == DataType::kFloat32 ? 4 : type == DataType::kFloat8E4M3 ? 1 : 2;
}
DOVETAIL_ALWAYS_INLINE const void* at(const void* base, DataType type, std::int64_t index) {
  return static_cast<const char*>(base) + index * bytes_of(type);
}
DOVETAIL_ALWAYS_INLINE void* at(void* base, DataType type, std::int64_t index) {
  return static_cast<char*>(base) + index * bytes_of(type);
}

inline void load_row(const void* from, DataType type, std::int64_t d, float* to) {
  with_type(type, [=](auto tag) {
    const auto* source = static_cast<const decltype(tag)*>(from);
    for (std::int64_t i = 0; i < d; i += kLanes) {
      store(to + i, load(source + i));
    }
  });
}

// to = from * factor in the storage type.
inline void store_row(const float* from, float factor, void* to, DataType type, std::int64_t d) {
  with_type(type, [=](auto tag) {
    auto* target = static_cast<decltype(tag)*>(to);
    const Vec scale = splat(factor);
    for (std::int64_t i = 0; i < d; i += kLanes) {
      store(target + i, mul(load(from + i), scale));
    }
  });
}

inline void normalize_row(float* row, std::int64_t d, const void* weight, DataType type, float eps,
                          float* loaded_weight) {
  Vec squares = zero();
  for (std::int64_t i = 0; i < d; i += kLanes) {
    squares = fma(load(row + i), load(row + i), squares);
  }
  const Vec factor = splat(1.0f / __builtin_sqrtf(sum(squares) / static_cast<float>(d) + eps));
  load_row(weight, type, d, loaded_weight);
  for (std::int64_t i = 0; i < d; i += kLanes) {
    store(row + i, mul(mul(load(row + i), factor), load(loaded_weight + i)));
  }
}

// Pairs (i, i + R/2); cos_sin holds R/2 cosines, then R/2 sines.
inline void rotate_row(float* row, std::int64_t rotary, const float* cos_sin) {
  const std::int64_t half = rotary / 2;
  std::int64_t i = 0;
  for (; i + kLanes <= half; i += kLanes) {
    const Vec low = load(row + i);
    const Vec high = load(row + half + i);
    const Vec c = load(cos_sin + i);
    const Vec s = load(cos_sin + half + i);
    store(row + i, sub(mul(low, c), mul(high, s)));
    store(row + half + i, fma(low, s, mul(high, c)));
  }
  for (; i < half; ++i) {
    const float low = row[i];
    const float high = row[half + i];
    row[i] = low * cos_sin[i] - high * cos_sin[half + i];
    row[half + i] = low * cos_sin[half + i] + high * cos_sin[i];
  }
}

// RoPE position of a new token; -1: padding of a tree.
DOVETAIL_ALWAYS_INLINE std::int64_t position_of(const AttentionCall& call,
                                                const AttentionLane& lane, std::int64_t token) {
  return call.tree ? call.position_ids[lane.index * call.tokens + token] : lane.history + token;
}

// Head `head` of a token of qkv (Q heads, K heads, V heads), normed and rotated, as fp32.
inline void load_rotated(const AttentionCall& call, const AttentionLane& lane, std::int64_t token,
                         std::int64_t head, const void* norm_weight, float* row, float* spare) {
  const std::int64_t heads = call.q_heads + 2 * call.kv_heads;
  const std::int64_t index = ((lane.index * call.tokens + token) * heads + head) * call.d;
  load_row(at(call.qkv, call.activation_type, index), call.activation_type, call.d, row);
  if (call.norm) {
    normalize_row(row, call.d, norm_weight, call.activation_type, call.norm_eps, spare);
  }
  const std::int64_t table = call.shared_rope ? 0 : lane.index;
  const std::int64_t position = position_of(call, lane, token);
  rotate_row(row, call.rotary, call.rope + (table * call.rope_rows + position) * call.rotary);
}

// Element index of a cache row; part 0: K, 1: V.
DOVETAIL_ALWAYS_INLINE std::int64_t cache_row(const AttentionCall& call, const AttentionLane& lane,
                                              int part, std::int64_t head, std::int64_t slot) {
  return (((lane.index * 2 + part) * call.kv_heads + head) * call.capacity + slot) * call.d;
}

// Slots [low, high) of the history and, outside trees, of the call itself that a token sees.
struct Bounds {
  std::int32_t low, high;
};

DOVETAIL_ALWAYS_INLINE Bounds bounds_of(const AttentionCall& call, const AttentionLane& lane,
                                        std::int64_t token) {
  const std::int64_t own = position_of(call, lane, token);
  if (own < 0) {
    return {0, 0};
  }
  const std::int64_t high = call.tree ? lane.history : own + 1;
  const std::int64_t low = call.window < 0 ? 0 : greater(0, own - call.window + 1);
  return {static_cast<std::int32_t>(lesser(low, high)), static_cast<std::int32_t>(high)};
}

// Whether `token` sees tree token j.
DOVETAIL_ALWAYS_INLINE bool sees_in_tree(const AttentionCall& call, const AttentionLane& lane,
                                         std::int64_t token, std::int64_t j) {
  const std::int64_t words = (call.tokens + 31) / 32;
  const std::int32_t* bits = call.mask + (lane.index * call.tokens + token) * words;
  const std::int64_t own = position_of(call, lane, token);
  const std::int64_t other = position_of(call, lane, j);
  return (static_cast<std::uint32_t>(bits[j / 32]) >> (j % 32) & 1u) != 0 && own >= 0 &&
         other >= 0 && (call.window < 0 || other > own - call.window);
}

DOVETAIL_ALWAYS_INLINE bool sees(const AttentionCall& call, const AttentionLane& lane,
                                 std::int64_t token, Bounds bounds, std::int64_t slot) {
  if (call.tree && slot >= lane.history) {
    return sees_in_tree(call, lane, token, slot - lane.history);
  }
  return slot >= bounds.low && slot < bounds.high;
}

inline void copy_past(const AttentionCall& call, const PrepareItem& item) {
  const std::int64_t slots = item.copy_end - item.copy_begin;
  for (int part = 0; part < 2 && slots > 0; ++part) {
    for (std::int64_t h = 0; h < call.kv_heads; ++h) {
      const std::int64_t row = cache_row(call, item.lane, part, h, item.copy_begin);
      __builtin_memcpy(at(call.cache, call.cache_type, row), at(call.past, call.cache_type, row),
                       static_cast<std::size_t>(slots * call.d * bytes_of(call.cache_type)));
    }
  }
}

// scratch: [2, D]
inline void prepare(const AttentionCall& call, const PrepareItem& item, float* scratch) {
  if (call.past != nullptr) {
    copy_past(call, item);
  }
  const DataType type = call.activation_type;
  const std::int64_t heads = call.q_heads + 2 * call.kv_heads;
  for (std::int64_t t = item.token_begin; t < item.token_end; ++t) {
    const std::int64_t token_index = item.lane.index * call.tokens + t;
    if (t >= item.lane.new_tokens || position_of(call, item.lane, t) < 0) {
      const std::int64_t width = call.q_heads * call.d;
      __builtin_memset(at(call.output, type, token_index * width), 0,
                       static_cast<std::size_t>(width * bytes_of(type)));
      continue;
    }
    const std::int64_t slot = item.lane.history + t;
    for (std::int64_t h = 0; h < call.kv_heads; ++h) {
      load_rotated(call, item.lane, t, call.q_heads + h, call.k_norm_weight, scratch,
                   scratch + call.d);
      store_row(scratch, 1.0f / call.k_scale,
                at(call.cache, call.cache_type, cache_row(call, item.lane, 0, h, slot)),
                call.cache_type, call.d);
      const std::int64_t v = (token_index * heads + call.q_heads + call.kv_heads + h) * call.d;
      load_row(at(call.qkv, type, v), type, call.d, scratch);
      store_row(scratch, 1.0f / call.v_scale,
                at(call.cache, call.cache_type, cache_row(call, item.lane, 1, h, slot)),
                call.cache_type, call.d);
    }
  }
}

// Where a finished row goes: partial {top, total, sums} or the output in its type.
inline void finish_row(const AttentionCall& call, const AttendItem& item, std::int64_t row,
                       float top, float total, const float* sums) {
  if (item.partial != nullptr) {
    float* partial = item.partial + (row - item.row_begin) * (call.d + 2);
    partial[0] = top;
    partial[1] = total;
    __builtin_memcpy(partial + 2, sums, static_cast<std::size_t>(call.d) * sizeof(float));
    return;
  }
  const std::int64_t token = item.lane.index * call.tokens + row / call.group;
  const std::int64_t head = item.kv_head * call.group + row % call.group;
  const float factor = total == 0.0f ? 0.0f : call.v_scale / total;
  store_row(sums, factor,
            at(call.output, call.activation_type, (token * call.q_heads + head) * call.d),
            call.activation_type, call.d);
}

// scratch: [D]
inline void merge(const AttentionCall& call, const MergeItem& item, float* scratch) {
  const AttendItem target{item.lane, item.kv_head, item.row_begin, item.row_end, 0, 0, nullptr};
  for (std::int64_t row = item.row_begin; row < item.row_end; ++row) {
    const float* first = item.partials + (row - item.row_begin) * (call.d + 2);
    float top = kNothingSeen;
    for (std::int64_t s = 0; s < item.splits; ++s) {
      const float split_top = first[s * item.split_stride];
      top = split_top > top ? split_top : top;
    }
    float total = 0.0f;
    __builtin_memset(scratch, 0, static_cast<std::size_t>(call.d) * sizeof(float));
    for (std::int64_t s = 0; s < item.splits; ++s) {
      const float* partial = first + s * item.split_stride;
      const Vec weight = exp2_lanes(splat(partial[0] - top));
      total += weight[0] * partial[1];
      for (std::int64_t i = 0; i < call.d; i += kLanes) {
        store(scratch + i, fma(weight, load(partial + 2 + i), load(scratch + i)));
      }
    }
    finish_row(call, target, row, top, total, scratch);
  }
}

}  // namespace
}  // namespace dovetail
