// SPDX-License-Identifier: Apache-2.0
// Attention of few rows (decode, small trees: at most kNarrowRows query rows per KV head): a memory
// problem. K and V are streamed from the cache in their own type, converted in registers and used
// for all rows at once; D lies along the lanes.
//
//   scores[R][keys] = Q[R][D] . K[keys][D]       R x keys dot products, reduced eight at a time
//   sums[R][D]     += P[R][keys] . V[keys][D]    kept in registers over kKeyStep keys
//
// Include after a tier's float_vector.h.
#pragma once

#include "cpu/lanes/attention_quad.h"

namespace dovetail {
namespace {

constexpr int kNarrowRows = 8;
constexpr int kKeyStep = 16;

// Keys per step such that R * keys accumulators hide the latency of an fma and still fit.
template <int R>
constexpr int kNarrowKeys = kRegisters == 16 ? (R == 1   ? 8
                                                : R == 2 ? 4
                                                : R == 3 ? 3
                                                : R <= 6 ? 2
                                                         : 1)
                                             : (R <= 2   ? 8
                                                : R <= 4 ? 4
                                                : R <= 6 ? 3
                                                         : 2);
template <int R>
constexpr int kNarrowChunk = kRegisters == 16 ? (R <= 6 ? 2 : 1) : (R <= 4 ? 4 : 2);

template <int R, int N, class T>
DOVETAIL_ALWAYS_INLINE void narrow_dots(const float* query, std::int64_t d, const T* keys,
                                        float* scores, std::int64_t score_stride) {
  constexpr int kSums = (R * N + 7) / 8 * 8;
  Vec acc[kSums];
#pragma GCC unroll 32
  for (int i = 0; i < kSums; ++i) {
    acc[i] = zero();
  }
  for (std::int64_t i = 0; i < d; i += kLanes) {
#pragma GCC unroll 8
    for (int n = 0; n < N; ++n) {
      const Vec k = load(keys + n * d + i);
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r) {
        acc[r * N + n] = fma(load(query + r * d + i), k, acc[r * N + n]);
      }
    }
  }
  float dots[kSums];
#pragma GCC unroll 4
  for (int i = 0; i < kSums; i += 8) {
    sum_eight(acc + i, dots + i);
  }
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 8
    for (int n = 0; n < N; ++n) {
      scores[r * score_stride + n] = dots[r * N + n];
    }
  }
}

template <int R, class T>
void narrow_scores(const float* query, std::int64_t d, const T* keys, std::int64_t count,
                   const T* values, float* scores, std::int64_t score_stride) {
  constexpr int kStep = kNarrowKeys<R>;
  constexpr std::int64_t kLine = 64 / sizeof(T);
  std::int64_t n = 0;
  for (; n + kStep <= count; n += kStep) {
    for (std::int64_t i = 0; i < kStep * d; i += kLine) {
      prefetch(values + n * d + i);
    }
    narrow_dots<R, kStep>(query, d, keys + n * d, scores + n, score_stride);
  }
  for (; n < count; ++n) {
    narrow_dots<R, 1>(query, d, keys + n * d, scores + n, score_stride);
  }
}

// sums[r][at .. at + C * lanes) over `count` keys; fetches as much from `ahead` on as it reads.
template <int R, int C, class T>
DOVETAIL_ALWAYS_INLINE void narrow_chunk(const float* weights, std::int64_t weight_stride,
                                         const T* values, std::int64_t d, std::int64_t count,
                                         float* sums, const T* ahead) {
  Vec acc[R][C];
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
    for (int c = 0; c < C; ++c) {
      acc[r][c] = load(sums + r * d + c * kLanes);
    }
  }
  for (std::int64_t n = 0; n < count; ++n) {
#pragma GCC unroll 4
    for (std::int64_t i = 0; i < C * kLanes; i += 64 / static_cast<std::int64_t>(sizeof(T))) {
      prefetch(ahead + n * (C * kLanes) + i);
    }
    Vec v[C];
#pragma GCC unroll 4
    for (int c = 0; c < C; ++c) {
      v[c] = load(values + n * d + c * kLanes);
    }
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
      const Vec w = splat(weights[r * weight_stride + n]);
#pragma GCC unroll 4
      for (int c = 0; c < C; ++c) {
        acc[r][c] = fma(w, v[c], acc[r][c]);
      }
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
    for (int c = 0; c < C; ++c) {
      store(sums + r * d + c * kLanes, acc[r][c]);
    }
  }
}

template <int R, class T>
void narrow_values(const float* weights, std::int64_t weight_stride, const T* values,
                   std::int64_t d, std::int64_t count, float* sums, const T* ahead) {
  constexpr int C = kNarrowChunk<R>;
  for (std::int64_t n = 0; n < count; n += kKeyStep) {
    const std::int64_t keys = lesser(kKeyStep, count - n);
    std::int64_t i = 0;
    for (; i + C * kLanes <= d; i += C * kLanes) {
      narrow_chunk<R, C>(weights + n, weight_stride, values + n * d + i, d, keys, sums + i,
                         ahead + n * d + i * keys);
    }
    for (; i < d; i += kLanes) {
      narrow_chunk<R, 1>(weights + n, weight_stride, values + n * d + i, d, keys, sums + i,
                         ahead + n * d + i * keys);
    }
  }
}

// Turns a row of scores into weights, updates its running maximum and total; returns the factor for
// what was summed before. `padded` is count rounded up to lanes; the row has room for it.
inline float narrow_softmax(float* scores, std::int64_t count, float* top, float* total) {
  const std::int64_t padded = (count + kLanes - 1) / kLanes * kLanes;
  for (std::int64_t n = count; n < padded; ++n) {
    scores[n] = minus_infinity();
  }
  Vec tops = splat(*top);
  for (std::int64_t n = 0; n < padded; n += kLanes) {
    tops = larger(tops, load(scores + n));
  }
  const float new_top = largest(tops);
  const float factor = exp2_lanes(splat(*top - new_top))[0];
  Vec totals = zero();
  for (std::int64_t n = 0; n < padded; n += kLanes) {
    const Vec weight = exp2_lanes(sub(load(scores + n), splat(new_top)));
    store(scores + n, weight);
    totals = add(totals, weight);
  }
  *total = *total * factor + sum(totals);
  *top = new_top;
  return factor;
}

inline void cap_scores(const AttentionCall& call, float* scores, std::int64_t count) {
  const Vec to_log2 = splat(call.cap_to_log2);
  for (std::int64_t n = 0; n < count; n += kLanes) {
    store(scores + n, mul(to_log2, tanh_lanes(load(scores + n))));
  }
}

// Converted copy of keys [begin, end) of a head; slots of tree padding read as zero.
__attribute__((noinline)) inline void widen_rows(const AttentionCall& call,
                                                 const AttentionLane& lane, int part,
                                                 std::int64_t head, std::int64_t begin,
                                                 std::int64_t end, float* to) {
  const void* rows = at(call.cache, call.cache_type, cache_row(call, lane, part, head, begin));
  load_row(rows, call.cache_type, (end - begin) * call.d, to);
  for (std::int64_t s = greater(begin, lane.history); call.tree && s < end; ++s) {
    if (position_of(call, lane, s - lane.history) < 0) {
      __builtin_memset(to + (s - begin) * call.d, 0,
                       static_cast<std::size_t>(call.d) * sizeof(float));
    }
  }
}

template <int R, class T>
void narrow_block(const AttentionCall& call, const AttendItem& item, const Bounds* bounds,
                  std::int64_t begin, std::int64_t end, const T* keys, const T* values,
                  const AttentionBlock& block, const AttentionScratch& where, float* scratch) {
  const std::int64_t count = end - begin;
  float* scores = scratch + where.scores;
  float* sums = scratch + where.sums;
  if constexpr (R == kQuadRows) {
    bool all = call.cap == 0.0f && count % kQuadKeys == 0;
    for (int r = 0; r < R; ++r) {
      all = all && bounds[r].low <= begin && bounds[r].high >= end;
    }
    if (all) {
      return quad_block(scratch + where.query, call.d, keys, values, count, scores, sums,
                        scratch + where.top, scratch + where.total);
    }
  }
  narrow_scores<R>(scratch + where.query, call.d, keys, count, values, scores, block.keys);
  for (int r = 0; r < R; ++r) {
    float* row = scores + r * block.keys;
    if (call.cap > 0.0f) {
      cap_scores(call, row, count);
    }
    const bool all = bounds[r].low <= begin && bounds[r].high >= end;
    for (std::int64_t n = 0; n < count && !all; ++n) {
      if (!sees(call, item.lane, (item.row_begin + r) / call.group, bounds[r], begin + n)) {
        row[n] = minus_infinity();
      }
    }
    const float factor =
        narrow_softmax(row, count, scratch + where.top + r, scratch + where.total + r);
    for (std::int64_t i = 0; i < call.d && factor != 1.0f; i += kLanes) {
      store(sums + r * call.d + i, mul(load(sums + r * call.d + i), splat(factor)));
    }
  }
  narrow_values<R>(scores, block.keys, values, call.d, count, sums, keys + count * call.d);
}

template <int R>
void attend_narrow_rows(const AttentionCall& call, const AttendItem& item,
                        const AttentionBlock& block, const AttentionScratch& where,
                        float* scratch) {
  const std::int64_t d = call.d;
  Bounds bounds[R];
  std::int64_t low = item.key_end;
  std::int64_t high = item.key_begin;
  for (int r = 0; r < R; ++r) {
    const std::int64_t token = (item.row_begin + r) / call.group;
    const std::int64_t head = item.kv_head * call.group + (item.row_begin + r) % call.group;
    float* query = scratch + where.query + r * d;
    bounds[r] = bounds_of(call, item.lane, token);
    if (position_of(call, item.lane, token) < 0) {
      __builtin_memset(query, 0, static_cast<std::size_t>(d) * sizeof(float));
    } else {
      load_rotated(call, item.lane, token, head, call.q_norm_weight, query, scratch + where.row);
      store_row(query, call.q_factor, query, DataType::kFloat32, d);
      low = lesser(low, bounds[r].low);
      high = greater(high, call.tree ? item.key_end : bounds[r].high);
    }
    __builtin_memset(scratch + where.sums + r * d, 0, static_cast<std::size_t>(d) * sizeof(float));
    scratch[where.top + r] = kNothingSeen;
    scratch[where.total + r] = 0.0f;
  }
  const std::int64_t last = lesser(high, item.key_end);
  for (std::int64_t begin = greater(low, item.key_begin); begin < last;) {
    std::int64_t end = lesser(begin + block.keys, last);
    if (call.tree && begin < item.lane.history) {
      end = lesser(end, item.lane.history);
    }
    if (call.tree && begin >= item.lane.history) {
      widen_rows(call, item.lane, 0, item.kv_head, begin, end, scratch + where.keys);
      widen_rows(call, item.lane, 1, item.kv_head, begin, end, scratch + where.values);
      narrow_block<R, float>(call, item, bounds, begin, end, scratch + where.keys,
                             scratch + where.values, block, where, scratch);
    } else {
      with_type(call.cache_type, [&](auto tag) {
        const auto* cache = static_cast<const decltype(tag)*>(call.cache);
        narrow_block<R>(call, item, bounds, begin, end,
                        cache + cache_row(call, item.lane, 0, item.kv_head, begin),
                        cache + cache_row(call, item.lane, 1, item.kv_head, begin), block, where,
                        scratch);
      });
    }
    begin = end;
  }
  for (int r = 0; r < R; ++r) {
    finish_row(call, item, item.row_begin + r, scratch[where.top + r], scratch[where.total + r],
               scratch + where.sums + r * d);
  }
}

template <int R = kNarrowRows>
void attend_narrow(const AttentionCall& call, const AttendItem& item, const AttentionBlock& block,
                   const AttentionScratch& where, float* scratch) {
  if constexpr (R > 0) {
    if (item.row_end - item.row_begin == R) {
      return attend_narrow_rows<R>(call, item, block, where, scratch);
    }
    attend_narrow<R - 1>(call, item, block, where, scratch);
  }
}

}  // namespace
}  // namespace dovetail
