// SPDX-License-Identifier: Apache-2.0
// Attention of many rows (prefill, larger trees, wide groups): a matrix problem. Query rows lie
// along the lanes, so K and V keep their order and softmax runs down the columns of registers; only
// Q (once per item) and the result (once per item) are transposed.
//
//   panel        P * lanes rows, P = 2 (1 for a short last panel)
//   query        [panel][D][rows]         transposed once per item
//   scores       [keys][rows]             = K[key][d] (broadcast) * query[d][rows]
//   sums         [panel][D][rows]         += V[key][d] (broadcast) * weights[key][rows]
//
// Both products are register tiles of M x P vectors. K and V blocks are widened to fp32 once per
// item and used by all its panels; an fp32 cache is used where it lies. Blocks that no row of a
// panel sees are skipped, and only keys on the edge of what its rows see are masked one by one.
// Include after a tier's float_vector.h.
#pragma once

#include "cpu/lanes/attention_narrow.h"

namespace dovetail {
namespace {

// Largest M: M * P accumulators, P vectors and a broadcast fit the registers.
template <int P>
constexpr int kTileRows = kRegisters == 16 ? (P == 2 ? 6 : 10) : (P == 2 ? 12 : 16);

// out[m][rows] = sum over d of a[m][d] * panel[d][rows]
template <int P, int M>
__attribute__((noinline)) void tile_dots(const float* a, std::int64_t d, const float* panel,
                                         float* out) {
  Vec acc[M][P];
#pragma GCC unroll 16
  for (int m = 0; m < M; ++m) {
#pragma GCC unroll 2
    for (int p = 0; p < P; ++p) {
      acc[m][p] = zero();
    }
  }
  // A pointer for every four rows: with one base and M offsets some of these have no register, and
  // came back from a vector register in every round.
  const float* rows[(M + 3) / 4];
#pragma GCC unroll 4
  for (int m = 0; m < M; m += 4) {
    rows[m / 4] = a + m * d;
  }
  for (std::int64_t i = 0; i < d; ++i) {
    Vec q[P];
#pragma GCC unroll 2
    for (int p = 0; p < P; ++p) {
      q[p] = load(panel + (i * P + p) * kLanes);
    }
#pragma GCC unroll 16
    for (int m = 0; m < M; ++m) {
      const Vec k = splat(rows[m / 4][m % 4 * d]);
#pragma GCC unroll 2
      for (int p = 0; p < P; ++p) {
        acc[m][p] = fma(k, q[p], acc[m][p]);
      }
    }
#pragma GCC unroll 4
    for (int m = 0; m < M; m += 4) {
      ++rows[m / 4];
    }
  }
#pragma GCC unroll 16
  for (int m = 0; m < M; ++m) {
#pragma GCC unroll 2
    for (int p = 0; p < P; ++p) {
      store(out + (m * P + p) * kLanes, acc[m][p]);
    }
  }
}

// sums[m][rows] = sums * factor + sum over keys of v[key][m] * weights[key][rows]
template <int P, int M>
__attribute__((noinline)) void tile_weigh(const float* v, std::int64_t d, std::int64_t keys,
                                          const float* weights, const Vec* factor, float* sums) {
  Vec acc[M][P];
#pragma GCC unroll 16
  for (int m = 0; m < M; ++m) {
#pragma GCC unroll 2
    for (int p = 0; p < P; ++p) {
      acc[m][p] = mul(factor[p], load(sums + (m * P + p) * kLanes));
    }
  }
  for (std::int64_t n = 0; n < keys; ++n) {
    Vec w[P];
#pragma GCC unroll 2
    for (int p = 0; p < P; ++p) {
      w[p] = load(weights + (n * P + p) * kLanes);
    }
#pragma GCC unroll 16
    for (int m = 0; m < M; ++m) {
      const Vec x = splat(v[n * d + m]);
#pragma GCC unroll 2
      for (int p = 0; p < P; ++p) {
        acc[m][p] = fma(x, w[p], acc[m][p]);
      }
    }
  }
#pragma GCC unroll 16
  for (int m = 0; m < M; ++m) {
#pragma GCC unroll 2
    for (int p = 0; p < P; ++p) {
      store(sums + (m * P + p) * kLanes, acc[m][p]);
    }
  }
}

template <int P, int M = kTileRows<P>>
DOVETAIL_ALWAYS_INLINE void dots_of(std::int64_t m, const float* a, std::int64_t d,
                                    const float* panel, float* out) {
  if constexpr (M > 0) {
    if (m == M) {
      return tile_dots<P, M>(a, d, panel, out);
    }
    dots_of<P, M - 1>(m, a, d, panel, out);
  }
}

template <int P, int M = kTileRows<P>>
DOVETAIL_ALWAYS_INLINE void weigh_of(std::int64_t m, const float* v, std::int64_t d,
                                     std::int64_t keys, const float* weights, const Vec* factor,
                                     float* sums) {
  if constexpr (M > 0) {
    if (m == M) {
      return tile_weigh<P, M>(v, d, keys, weights, factor, sums);
    }
    weigh_of<P, M - 1>(m, v, d, keys, weights, factor, sums);
  }
}

// One panel of rows and what it has gathered so far.
struct Panel {
  std::int64_t row;   // first row of the item, counted from item.row_begin
  std::int64_t rows;  // real rows
  float* query;
  float* sums;
  float* top;
  float* total;
  const Bounds* bounds;            // of the real rows
  std::int64_t low, high;          // some row sees keys in [low, high)
  std::int64_t all_low, all_high;  // every row sees keys in [all_low, all_high)
};

template <int P>
__attribute__((noinline)) void mask_scores(const AttentionCall& call, const AttendItem& item,
                                           const Panel& panel, std::int64_t begin, std::int64_t end,
                                           float* scores) {
  for (std::int64_t slot = begin; slot < end; ++slot) {
    if (slot >= panel.all_low && slot < panel.all_high) {
      slot = lesser(panel.all_high, end) - 1;
      continue;
    }
    float* row = scores + (slot - begin) * P * kLanes;
    for (std::int64_t r = 0; r < panel.rows; ++r) {
      const std::int64_t token = (item.row_begin + panel.row + r) / call.group;
      if (!sees(call, item.lane, token, panel.bounds[r], slot)) {
        row[r] = minus_infinity();
      }
    }
  }
}

template <int P>
__attribute__((noinline)) void softmax_columns(float* scores, std::int64_t keys, float* top,
                                               float* total, Vec* factor) {
  Vec tops[P];
  Vec totals[P];
  for (int p = 0; p < P; ++p) {
    tops[p] = load(top + p * kLanes);
    totals[p] = zero();
  }
  for (std::int64_t n = 0; n < keys; ++n) {
    for (int p = 0; p < P; ++p) {
      tops[p] = larger(tops[p], load(scores + (n * P + p) * kLanes));
    }
  }
  for (std::int64_t n = 0; n < keys; ++n) {
    for (int p = 0; p < P; ++p) {
      float* at_key = scores + (n * P + p) * kLanes;
      const Vec weight = exp2_lanes(sub(load(at_key), tops[p]));
      totals[p] = add(totals[p], weight);
      store(at_key, weight);
    }
  }
  for (int p = 0; p < P; ++p) {
    factor[p] = exp2_lanes(sub(load(top + p * kLanes), tops[p]));
    store(total + p * kLanes, fma(load(total + p * kLanes), factor[p], totals[p]));
    store(top + p * kLanes, tops[p]);
  }
}

// Keys [begin, end) whose K and V rows are given, for one panel.
template <int P>
void panel_block(const AttentionCall& call, const AttendItem& item, const Panel& panel,
                 std::int64_t begin, std::int64_t end, const float* keys, const float* values,
                 float* scores) {
  const std::int64_t first = greater(begin, panel.low);
  const std::int64_t last = lesser(end, panel.high);
  if (first >= last) {
    return;
  }
  const std::int64_t count = last - first;
  keys += (first - begin) * call.d;
  values += (first - begin) * call.d;
  std::int64_t tiles = (count + kTileRows<P> - 1) / kTileRows<P>;
  for (std::int64_t n = 0; n < count; --tiles) {
    const std::int64_t m =
        (count - n + tiles - 1) / tiles;  // even tiles instead of a short last one
    dots_of<P>(m, keys + n * call.d, call.d, panel.query, scores + n * P * kLanes);
    n += m;
  }
  if (call.cap > 0.0f) {
    cap_scores(call, scores, count * P * kLanes);
  }
  mask_scores<P>(call, item, panel, first, last, scores);
  Vec factor[P];
  softmax_columns<P>(scores, count, panel.top, panel.total, factor);
  tiles = (call.d + kTileRows<P> - 1) / kTileRows<P>;
  for (std::int64_t i = 0; i < call.d; --tiles) {
    const std::int64_t m = (call.d - i + tiles - 1) / tiles;
    weigh_of<P>(m, values + i, call.d, count, scores, factor, panel.sums + i * P * kLanes);
    i += m;
  }
}

// Fills query, bounds and limits of a panel.
template <int P>
__attribute__((noinline)) void open_panel(const AttentionCall& call, const AttendItem& item,
                                          Panel& panel, Bounds* bounds, float* rows, float* spare) {
  const std::int64_t d = call.d;
  panel.bounds = bounds;
  panel.low = panel.all_high = item.key_end;
  panel.high = panel.all_low = item.key_begin;
  for (std::int64_t r = 0; r < P * kLanes; ++r) {
    float* row = rows + r % kLanes * d;
    const std::int64_t packed = item.row_begin + panel.row + r;
    const std::int64_t token = packed / call.group;
    const bool real = r < panel.rows;
    if (real) {
      bounds[r] = bounds_of(call, item.lane, token);
      panel.all_low = greater(panel.all_low, bounds[r].low);
      panel.all_high = lesser(panel.all_high, bounds[r].high);
    }
    if (real && position_of(call, item.lane, token) >= 0) {
      panel.low = lesser(panel.low, bounds[r].low);
      panel.high = greater(panel.high, call.tree ? item.key_end : bounds[r].high);
      load_rotated(call, item.lane, token, item.kv_head * call.group + packed % call.group,
                   call.q_norm_weight, row, spare);
    } else {
      __builtin_memset(row, 0, static_cast<std::size_t>(d) * sizeof(float));
    }
    if (r % kLanes < kLanes - 1) {
      continue;
    }
    const std::int64_t p = r / kLanes;
    for (std::int64_t i = 0; i < d; i += kLanes) {
      Vec square[kLanes];
      for (int j = 0; j < kLanes; ++j) {
        square[j] = mul(load(rows + j * d + i), splat(call.q_factor));
      }
      transpose(square);
      for (int j = 0; j < kLanes; ++j) {
        store(panel.query + ((i + j) * P + p) * kLanes, square[j]);
        store(panel.sums + ((i + j) * P + p) * kLanes, zero());
      }
    }
    store(panel.top + p * kLanes, splat(kNothingSeen));
    store(panel.total + p * kLanes, zero());
  }
}

template <int P>
__attribute__((noinline)) void close_panel(const AttentionCall& call, const AttendItem& item,
                                           const Panel& panel, float* rows) {
  const std::int64_t d = call.d;
  for (std::int64_t p = 0; p < P; ++p) {
    for (std::int64_t i = 0; i < d; i += kLanes) {
      Vec square[kLanes];
      for (int j = 0; j < kLanes; ++j) {
        square[j] = load(panel.sums + ((i + j) * P + p) * kLanes);
      }
      transpose(square);
      for (int j = 0; j < kLanes; ++j) {
        store(rows + j * d + i, square[j]);
      }
    }
    for (std::int64_t j = 0; j < kLanes && p * kLanes + j < panel.rows; ++j) {
      const std::int64_t r = p * kLanes + j;
      finish_row(call, item, item.row_begin + panel.row + r, panel.top[r], panel.total[r],
                 rows + j * d);
    }
  }
}

inline void attend_tiles(const AttentionCall& call, const AttendItem& item,
                         const AttentionBlock& block, const AttentionScratch& where,
                         float* scratch) {
  const std::int64_t total_rows = item.row_end - item.row_begin;
  const auto panel_at = [&](std::int64_t row) {
    Panel panel{};
    panel.row = row;
    panel.rows = lesser(total_rows - row, 2 * kLanes);
    panel.query = scratch + where.query + row * call.d;
    panel.sums = scratch + where.sums + row * call.d;
    panel.top = scratch + where.top + row;
    panel.total = scratch + where.total + row;
    return panel;
  };
  constexpr int kMostPanels = 64;
  Panel panels[kMostPanels];
  auto* bounds = reinterpret_cast<Bounds*>(scratch + where.bounds);
  std::int64_t low = item.key_end;
  std::int64_t high = item.key_begin;
  int count = 0;
  for (std::int64_t row = 0; row < total_rows; row += 2 * kLanes, ++count) {
    Panel& panel = panels[count];
    panel = panel_at(row);
    if (panel.rows > kLanes) {
      open_panel<2>(call, item, panel, bounds + row, scratch + where.row, scratch + where.keys);
    } else {
      open_panel<1>(call, item, panel, bounds + row, scratch + where.row, scratch + where.keys);
    }
    low = lesser(low, panel.low);
    high = greater(high, panel.high);
  }
  const std::int64_t last = lesser(high, item.key_end);
  for (std::int64_t begin = greater(low, item.key_begin); begin < last; begin += block.keys) {
    const std::int64_t end = lesser(begin + block.keys, last);
    const float* keys = nullptr;
    const float* values = nullptr;
    if (call.cache_type == DataType::kFloat32 && (!call.tree || end <= item.lane.history)) {
      const auto* cache = static_cast<const float*>(call.cache);
      keys = cache + cache_row(call, item.lane, 0, item.kv_head, begin);
      values = cache + cache_row(call, item.lane, 1, item.kv_head, begin);
    } else {
      widen_rows(call, item.lane, 0, item.kv_head, begin, end, scratch + where.keys);
      widen_rows(call, item.lane, 1, item.kv_head, begin, end, scratch + where.values);
      keys = scratch + where.keys;
      values = scratch + where.values;
    }
    for (int i = 0; i < count; ++i) {
      if (panels[i].rows > kLanes) {
        panel_block<2>(call, item, panels[i], begin, end, keys, values, scratch + where.scores);
      } else {
        panel_block<1>(call, item, panels[i], begin, end, keys, values, scratch + where.scores);
      }
    }
  }
  for (int i = 0; i < count; ++i) {
    if (panels[i].rows > kLanes) {
      close_panel<2>(call, item, panels[i], scratch + where.row);
    } else {
      close_panel<1>(call, item, panels[i], scratch + where.row);
    }
  }
}

inline void attend(const AttentionCall& call, const AttendItem& item, const AttentionBlock& block,
                   const AttentionScratch& where, float* scratch) {
  if (item.row_end - item.row_begin <= kNarrowRows) {
    attend_narrow(call, item, block, where, scratch);
  } else {
    attend_tiles(call, item, block, where, scratch);
  }
}

}  // namespace
}  // namespace dovetail
