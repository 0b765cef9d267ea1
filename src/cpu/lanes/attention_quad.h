// SPDX-License-Identifier: Apache-2.0
// Attention of exactly four rows that see every key of a block: the decode step of models with four
// query heads a KV head. The scores of kLanes / 4 keys and the four rows share one vector, a row a
// quarter, so that one tree of additions finishes all of a step's dot products and the softmax
// works on whole vectors:
//
//   lane of a score vector = row * kQuadKeys + key        (16 lanes: r0k0 r0k1 r0k2 r0k3 r1k0 ...)
//
// Against attention_narrow.h, one row at a time, one token behind 8,192 of 32/8/64 takes 12 % less
// time on a core of a Zen 4 (head size 128: 8 %), and 28 % less again (10 %) since the next block's
// keys are fetched while values are summed. Include after attention_rows.h.
#pragma once

#include "cpu/lanes/attention_rows.h"

namespace dovetail {
namespace {

constexpr int kQuadRows = 4;
constexpr int kQuadKeys = kLanes / kQuadRows;

// One vector of scores: kQuadKeys keys.
template <class T>
DOVETAIL_ALWAYS_INLINE Vec quad_dots(const float* query, std::int64_t d, const T* keys) {
  Vec acc[kLanes];
#pragma GCC unroll 16
  for (int i = 0; i < kLanes; ++i) {
    acc[i] = zero();
  }
  for (std::int64_t i = 0; i < d; i += kLanes) {
#pragma GCC unroll 4
    for (int n = 0; n < kQuadKeys; ++n) {
      const Vec k = load(keys + n * d + i);
#pragma GCC unroll 4
      for (int r = 0; r < kQuadRows; ++r) {
        acc[r * kQuadKeys + n] = fma(load(query + r * d + i), k, acc[r * kQuadKeys + n]);
      }
    }
  }
  return sums_of(acc);
}

// sums[r][at .. at + C * lanes) += weights * values; fetches as much from `ahead` on as it reads.
template <int C, class T>
DOVETAIL_ALWAYS_INLINE void quad_values(const float* weights, const T* values, std::int64_t d,
                                        std::int64_t count, float* sums, const T* ahead) {
  Vec acc[kQuadRows][C];
#pragma GCC unroll 4
  for (int r = 0; r < kQuadRows; ++r) {
#pragma GCC unroll 4
    for (int c = 0; c < C; ++c) {
      acc[r][c] = load(sums + r * d + c * kLanes);
    }
  }
  for (std::int64_t n = 0; n < count; n += kQuadKeys, weights += kLanes, values += kQuadKeys * d) {
    constexpr std::int64_t kRead = kQuadKeys * C * kLanes;
#pragma GCC unroll 8
    for (std::int64_t i = 0; i < kRead; i += 64 / static_cast<std::int64_t>(sizeof(T))) {
      prefetch(ahead + n * (C * kLanes) + i);
    }
#pragma GCC unroll 4
    for (int j = 0; j < kQuadKeys; ++j) {
      Vec v[C];
#pragma GCC unroll 4
      for (int c = 0; c < C; ++c) {
        v[c] = load(values + j * d + c * kLanes);
      }
#pragma GCC unroll 4
      for (int r = 0; r < kQuadRows; ++r) {
        const Vec w = splat(weights[r * kQuadKeys + j]);
#pragma GCC unroll 4
        for (int c = 0; c < C; ++c) {
          acc[r][c] = fma(w, v[c], acc[r][c]);
        }
      }
    }
  }
#pragma GCC unroll 4
  for (int r = 0; r < kQuadRows; ++r) {
#pragma GCC unroll 4
    for (int c = 0; c < C; ++c) {
      store(sums + r * d + c * kLanes, acc[r][c]);
    }
  }
}

// `count` keys, a multiple of kQuadKeys. top, total: of the four rows.
template <class T>
__attribute__((noinline)) void quad_block(const float* query, std::int64_t d, const T* keys,
                                          const T* values, std::int64_t count, float* scores,
                                          float* sums, float* top, float* total) {
  constexpr std::int64_t kLine = 64 / sizeof(T);
  const Vec old_tops = spread(top);
  Vec tops = old_tops;
  for (std::int64_t n = 0; n < count; n += kQuadKeys) {
    for (std::int64_t i = 0; i < kQuadKeys * d; i += kLine) {
      prefetch(values + n * d + i);
    }
    const Vec dots = quad_dots(query, d, keys + n * d);
    store(scores + n * kQuadRows, dots);
    tops = larger(tops, dots);
  }
  tops = largest_of_quarters(tops);
  Vec totals = zero();
  for (std::int64_t n = 0; n < count; n += kQuadKeys) {
    const Vec weights = exp2_lanes(sub(load(scores + n * kQuadRows), tops));
    store(scores + n * kQuadRows, weights);
    totals = add(totals, weights);
  }
  const Vec factors = exp2_lanes(sub(old_tops, tops));
  float factor[kQuadRows];
  first_of_quarters(factors, factor);
  first_of_quarters(fma(spread(total), factors, sum_of_quarters(totals)), total);
  first_of_quarters(tops, top);
  for (int r = 0; r < kQuadRows; ++r) {
    for (std::int64_t i = 0; i < d && factor[r] != 1.0f; i += kLanes) {
      store(sums + r * d + i, mul(load(sums + r * d + i), splat(factor[r])));
    }
  }
  constexpr int C = kRegisters == 32 ? 4 : 2;
  // Several chunks of D take turns, so that the values they share stay in L1. Meanwhile the next
  // block's keys come, a line at a time: fetched in one go they are in the way of the values.
  const T* ahead = keys + count * d;
  const std::int64_t step = d == C * kLanes ? count : 16;
  for (std::int64_t n = 0; n < count; n += step) {
    const std::int64_t some = lesser(step, count - n);
    std::int64_t i = 0;
    for (; i + C * kLanes <= d; i += C * kLanes) {
      quad_values<C>(scores + n * kQuadRows, values + n * d + i, d, some, sums + i,
                     ahead + n * d + i * some);
    }
    for (; i < d; i += kLanes) {
      quad_values<1>(scores + n * kQuadRows, values + n * d + i, d, some, sums + i,
                     ahead + n * d + i * some);
    }
  }
}

}  // namespace
}  // namespace dovetail
