// SPDX-License-Identifier: Apache-2.0
// From the warps' sums of a call of one token to its output. Every step folds parts of the same
// softmax, a part being two adjacent columns of a row with the row's largest score and total:
//
//   warps      in shared memory, by their block
//   cluster    the blocks of a cluster are splits of the same keys. Each gives every block of the
//              cluster the columns that this one finishes: 8 at a time, block by block in turn
//   clusters   through the workspace, by the block that arrives last (ptx/arrival.cuh), for the
//              columns of its place in its cluster
//
// Without clusters the last block folds all splits as attention_kernel does.
//
// The order of the sums does not depend on who was last.
#pragma once

#include "cuda/attention_fold.cuh"

namespace dovetail::cuda {

struct alignas(16) Part {
  float x, y, top, total;
};

// The sum of `count` parts, of which this lane has every Ways-th from `own` on, the other Ways - 1
// neighbouring lanes the others; all lanes of the warp call. At most Batch parts a lane at a time.
template <int Ways, int Batch, class Load>
DOVETAIL_DEVICE Part fold_batch(const Part& before, uint32_t own, uint32_t count,
                                const Load& load) {
  Part parts[Batch];
  float top = before.top;
  DOVETAIL_UNROLL
  for (uint32_t i = 0; i < Batch; ++i) {
    parts[i] = {0.0f, 0.0f, minus_infinity(), 0.0f};
    if (own + i * Ways < count) parts[i] = load(own + i * Ways);
  }
  DOVETAIL_UNROLL
  for (const Part& part : parts) top = ptx::larger(top, part.top);
  DOVETAIL_UNROLL
  for (uint32_t bit = Ways / 2; bit > 0; bit /= 2) {
    top = ptx::larger(top, ptx::shuffle_xor(top, bit));
  }
  const float factor = fold_factor(before.top, top);
  Part sum{before.x * factor, before.y * factor, top, before.total * factor};
  DOVETAIL_UNROLL
  for (const Part& part : parts) {
    const float weight = fold_factor(part.top, top);
    sum.x += weight * part.x, sum.y += weight * part.y, sum.total += weight * part.total;
  }
  DOVETAIL_UNROLL
  for (uint32_t bit = Ways / 2; bit > 0; bit /= 2) {
    sum.x += ptx::shuffle_xor(sum.x, bit);
    sum.y += ptx::shuffle_xor(sum.y, bit);
    sum.total += ptx::shuffle_xor(sum.total, bit);
  }
  return sum;
}

// A place among the splits of one KV head. Without clusters every block is one.
struct DecodePlace {
  int32_t part, rank, shift;  // rank in its cluster of 2^shift
  int32_t tiles;              // of keys: split `part` has tile part, if there is one
  int32_t clusters;           // that share them
  int64_t item;               // lane and KV head

  DOVETAIL_DEVICE int32_t first() const { return part - rank; }
  DOVETAIL_DEVICE int32_t active() const {  // blocks of this cluster that have keys
    const int32_t left = tiles - first();
    return left < 1 << shift ? left : 1 << shift;
  }
};

// The warps' sums of the group's rows, through `shared`; put(pair, part) takes what becomes of them,
// for a pair of columns: pair = row * D / 2 + column / 2.
template <class S>
DOVETAIL_DEVICE void fold_warps(const WarpState<S>& state, int32_t rows, float unit,
                                std::byte* shared, const auto& put) {
  constexpr int kParts = S::kTile.key_warps, kRows = 16, kPitch = S::kHeadSize + 8;
  constexpr uint32_t kPairs = S::kThreads > 128 ? 1 : 2, kTurns = S::kHeadSize / (2 * kPairs);
  static_assert(kParts * kRows * (kPitch + 2) * 4 <= S::kStages * S::kStageBytes);
  auto* sums = reinterpret_cast<float*>(shared);  // [parts, rows, pitch]
  float* tops = sums + kParts * kRows * kPitch;   // [parts, rows, 2]
  const uint32_t lane = ptx::lane_index(), part = ptx::warp_index();
  ptx::sync_threads();
  DOVETAIL_UNROLL
  for (int half = 0; half < 2; ++half) {
    if (half * 8 >= rows) break;
    float total = state.total[0][half];
    total += ptx::shuffle_xor(total, 1);
    total += ptx::shuffle_xor(total, 2);
    const uint32_t row = part * kRows + static_cast<uint32_t>(half) * 8 + lane / 4;
    if (lane % 4 == 0) {
      *reinterpret_cast<ptx::Float2*>(tops + 2 * row) = {state.top[0][half] * unit, total};
    }
    DOVETAIL_UNROLL
    for (int i = 0; i < 2 * S::kSteps; ++i) {
      const ColumnPair pair = column_pair<S>(state.sums[0], i / 2, half, i % 2);
      *reinterpret_cast<ptx::Float2*>(sums + row * kPitch + pair.column) = {pair.x, pair.y};
    }
  }
  ptx::sync_threads();
  DOVETAIL_NO_UNROLL
  for (uint32_t i = ptx::thread_index().x; i < static_cast<uint32_t>(rows) * kTurns;
       i += S::kThreads) {
    const uint32_t row = i / kTurns;
    const float* from = sums + row * kPitch + i % kTurns * 2 * kPairs;
    ptx::Float2 parts[kParts];
    float top = minus_infinity();
    DOVETAIL_UNROLL
    for (int k = 0; k < kParts; ++k) {
      parts[k] = *reinterpret_cast<const ptx::Float2*>(tops + 2 * (k * kRows + row));
      top = ptx::larger(top, parts[k].x);
    }
    Part sum[kPairs] = {};
    DOVETAIL_UNROLL
    for (int k = 0; k < kParts; ++k) {
      const float factor = fold_factor(parts[k].x, top);
      DOVETAIL_UNROLL
      for (uint32_t j = 0; j < kPairs; ++j) {
        const auto& pair = reinterpret_cast<const ptx::Float2*>(from + k * kRows * kPitch)[j];
        sum[j].x += factor * pair.x, sum[j].y += factor * pair.y;
        sum[j].total += factor * parts[k].y;
      }
    }
    DOVETAIL_UNROLL
    for (uint32_t j = 0; j < kPairs; ++j) {
      sum[j].top = top;
      put(i * kPairs + j, sum[j]);
    }
  }
}

// Where a split's sums go: to the blocks of its cluster, or to the workspace, or into the output.
// Pairs go in runs of four; a block of a cluster finishes every cluster-th run.
template <class S>
struct DecodeFold {
  using T = typename S::T;
  const AttentionArguments& p;
  DecodePlace at;
  T* output;     // of the group's first row
  RowSink sink;  // the same for fold_splits
  Part* box;     // [own pairs, cluster], filled by the cluster's blocks
  uint64_t* mailbox;

  static constexpr uint32_t kRowPairs = S::kHeadSize / 2, kWays = 4;

  DOVETAIL_DEVICE uint32_t own_pairs() const {
    const auto runs = static_cast<uint32_t>(p.group) * (kRowPairs / 4);
    return ((runs + (1u << at.shift) - 1 - static_cast<uint32_t>(at.rank)) >> at.shift) * 4;
  }
  DOVETAIL_DEVICE uint32_t pair_of(uint32_t own) const {
    return ((own / 4 << at.shift) + static_cast<uint32_t>(at.rank)) * 4 + own % 4;
  }
  // [clusters, pairs]
  DOVETAIL_DEVICE Part* workspace(uint32_t pair) const {
    const int64_t all = p.splits >> at.shift;
    return reinterpret_cast<Part*>(p.partial_sums) + at.item * all * p.group * kRowPairs + pair;
  }
  // Without clusters: this split's row of 16.
  DOVETAIL_DEVICE void leave(uint32_t pair, const Part& sum) const {
    const int64_t row = (at.item * p.splits + at.part) * 16 + pair / kRowPairs;
    const uint32_t column = pair % kRowPairs * 2;
    if (static_cast<int32_t>(column) >= p.head_size) return;
    *reinterpret_cast<ptx::Float2*>(p.partial_sums + row * p.head_size + column) = {sum.x, sum.y};
    if (column > 0) return;
    *reinterpret_cast<ptx::Float2*>(p.partial_tops + 2 * row) = {sum.top, sum.total};
  }
  DOVETAIL_DEVICE Part* in_workspace(uint32_t pair) const {
    return workspace(pair) + int64_t{at.part >> at.shift} * p.group * kRowPairs;
  }

  DOVETAIL_DEVICE void finish(uint32_t pair, const Part& sum) const {
    const uint32_t row = pair / kRowPairs, column = pair % kRowPairs * 2;
    if (static_cast<int32_t>(column) >= p.head_size) return;
    const float factor = sink.value_scale * ptx::reciprocal_fast(sum.total);
    *reinterpret_cast<uint32_t*>(output + row * static_cast<uint32_t>(p.head_size) + column) =
        ptx::pack2<T>(sum.x * factor, sum.y * factor);
  }

  DOVETAIL_DEVICE void put(uint32_t pair, const Part& sum, bool alone) const {
    if (alone) {
      finish(pair, sum);
    } else if (at.shift == 0) {
      leave(pair, sum);
    } else {
      const uint32_t run = pair / 4, own = (run >> at.shift) * 4 + pair % 4;
      ptx::post(box + (own << at.shift) + at.rank, run & ((1u << at.shift) - 1), sum, mailbox);
    }
  }

  // The splits of the cluster, then of all clusters.
  DOVETAIL_DEVICE void fold(uint32_t& arrived) const {
    const uint32_t thread = ptx::thread_index().x, own = own_pairs();
    if (at.shift > 0) {
      const auto active = static_cast<uint32_t>(at.active());
      ptx::wait_for_mail(mailbox);
      DOVETAIL_NO_UNROLL
      for (uint32_t base = 0; base < own; base += S::kThreads / kWays) {
        const uint32_t local = base + thread / kWays;
        const Part* from = box + (local << at.shift);
        const Part sum =
            fold_batch<kWays, 4>({0.0f, 0.0f, minus_infinity(), 0.0f}, thread % kWays,
                                 local < own ? active : 0, [&](uint32_t i) { return from[i]; });
        if (local >= own || thread % kWays != 0) continue;
        if (at.clusters == 1) {
          finish(pair_of(local), sum);
        } else {
          *in_workspace(pair_of(local)) = sum;
        }
      }
      if (at.clusters == 1) return;
    }
    uint64_t* arrivals = p.arrivals + (at.item << at.shift) + at.rank;
    ptx::sync_threads();
    if (thread == 0) arrived = ptx::arrive(arrivals);
    ptx::sync_threads();
    if (arrived != static_cast<uint32_t>(at.clusters) - 1) return;
    if (thread == 0) ptx::leave_arrivals(arrivals);
    if (at.shift == 0) {
      const int64_t first = at.item * p.splits * 16;
      DOVETAIL_NO_UNROLL
      for (auto row = static_cast<int32_t>(ptx::warp_index()); row < p.group;
           row += S::kThreads / ptx::kWarpSize) {
        fold_splits<S>(p, sink, p.partial_tops + 2 * first, p.partial_sums + first * p.head_size,
                       at.clusters, row);
      }
      return;
    }
    const int64_t stride = int64_t{p.group} * kRowPairs;
    DOVETAIL_NO_UNROLL
    for (uint32_t local = thread; local < own; local += S::kThreads) {
      const uint32_t pair = pair_of(local);
      const Part* from = workspace(pair);
      Part sum{0.0f, 0.0f, minus_infinity(), 0.0f};
      for (uint32_t first = 0; first < static_cast<uint32_t>(at.clusters); first += 8) {
        sum = fold_batch<1, 8>(sum, first, static_cast<uint32_t>(at.clusters),
                               [&](uint32_t i) { return from[i * stride]; });
      }
      finish(pair, sum);
    }
  }
};

}  // namespace dovetail::cuda
