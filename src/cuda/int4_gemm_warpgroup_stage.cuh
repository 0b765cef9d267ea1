// SPDX-License-Identifier: Apache-2.0
// The producer of the wgmma kernel: one warpgroup copies slabs of 64 k of activations, weights,
// scales and zero points into a ring of stages by cp.async, all of them equally far ahead.
//
// A ring of `stages` times activations [tokens, 64], swizzled for wgmma, then one of `stages` times
//   weights      [columns / 16, 512 bytes] as cuda_v1 has them; edgellm_v1: [columns, 2 chunks],
//                chunk h of column n at h ^ (n / 4 % 2)
//   scales       [groups, columns] in 2 bytes; one group a slab, two of 32 k
//   zero points  [groups, columns]
// Everything outside M, N and K becomes zero. A stage is published `lag` stages after it is asked
// for: as few as cover memory's latency, since a stage is asked for only when its place is free, and
// until then nothing is published (lag = stages - 2: 20.4 us against 19.2 for 32 rows of 4096 x 14336,
// 107 against 100 for 512). The ring runs on from one share of work to the next.
//
// Named barriers: 1 + s, stage s is full; 1 + stages + s, it is empty.
#pragma once

#include "cuda/int4_gemm_plan.h"
#include "cuda/int4_gemm_stage.cuh"
#include "cuda/ptx/wgmma.cuh"

namespace dovetail::cuda {

inline constexpr int kProducerThreads = 128;

// A share of the work: a tile of the output over slabs begin .. end.
template <int Tile>
struct WarpgroupShare {
  static constexpr Int4GemmWarpgroupTile kTile = kInt4GemmWarpgroupTiles[Tile];
  int64_t first_token;
  int first_column, split, begin, end;

  DOVETAIL_DEVICE WarpgroupShare(const Int4GemmArguments& p, int index) {
    first_token = static_cast<int64_t>(index % p.blocks_m) * kTile.tokens;
    index /= p.blocks_m;
    first_column = index % p.blocks_n * kTile.columns();
    split = index / p.blocks_n;
    begin = split * p.slabs_per_split;
    end = begin + p.slabs_per_split < p.slabs ? begin + p.slabs_per_split : p.slabs;
  }
  DOVETAIL_DEVICE int stages() const { return (end - begin + kTile.slabs - 1) / kTile.slabs; }
  static DOVETAIL_DEVICE int count(const Int4GemmArguments& p) {
    return p.blocks_m * p.blocks_n * p.splits;
  }
};

template <WeightLayout Layout, int Tile, bool Plain>
class WarpgroupProducer {
 public:
  using Share = WarpgroupShare<Tile>;
  static constexpr Int4GemmWarpgroupTile kTile = kInt4GemmWarpgroupTiles[Tile];
  static constexpr Int4GemmWarpgroupStage kStage = int4_gemm_warpgroup_stage(kTile, Plain);
  static constexpr int kStages = kTile.stages, kLag = kTile.lag, kThreads = kTile.threads();
  static_assert(2 * kStages + kTile.warpgroups < 16, "named barriers");
  static_assert(kLag <= kStages - 2, "a consumer holds two stages");

  DOVETAIL_DEVICE WarpgroupProducer(const Int4GemmArguments& p, std::byte* ring)
      : p_(p), ring_(ring) {
    thread_ = static_cast<int>(ptx::thread_index().x) - (kThreads - kProducerThreads);
    const int row = thread_ / 8, chunk = thread_ % 8;
    activations_to_ = row * 128 + (chunk ^ (row & 7)) * 16;
    const int n = thread_ / 2, h = thread_ % 2;
    weights_to_ = Layout == WeightLayout::kCudaV1 ? thread_ * 16 : n * 32 + (h ^ (n >> 2 & 1)) * 16;
  }

  DOVETAIL_DEVICE void run() {
    const int first = static_cast<int>(ptx::block_index().x), count = Share::count(p_);
    start(Share(p_, first));
    // Weights, scales and zero points are constants: they may be read before the previous kernel
    // is done.
    const int early = stages_ < kLag ? stages_ : kLag;
    DOVETAIL_NO_UNROLL
    for (int i = 0; i < early; ++i) load_constants(i, i);
    ptx::wait_for_previous_kernel();
    int slot = 0, asked = 0;
    DOVETAIL_NO_UNROLL
    for (int share = first; share < count; share += static_cast<int>(ptx::grid_size().x)) {
      if (share != first) start(Share(p_, share));
      DOVETAIL_NO_UNROLL
      for (int i = 0; i < stages_; ++i) {
        if (asked >= kStages) ptx::barrier_sync(1 + kStages + slot, kThreads);
        if (asked >= early) load_constants(i, slot);
        load_activations(i, slot);
        ptx::copy_async_commit();
        if (asked >= kLag) publish<kLag>(slot < kLag ? slot + kStages - kLag : slot - kLag);
        slot = slot == kStages - 1 ? 0 : slot + 1;
        ++asked;
      }
    }
    DOVETAIL_NO_UNROLL
    for (int i = asked < kLag ? 0 : asked - kLag; i < asked; ++i) publish<0>(i % kStages);
    DOVETAIL_NO_UNROLL
    for (int i = asked < kStages ? 0 : asked - kStages; i < asked; ++i)
      ptx::barrier_sync(1 + kStages + i % kStages, kThreads);
  }

 private:
  DOVETAIL_DEVICE void start(const Share& share) {
    const int row = thread_ / 8, chunk = thread_ % 8;
    first_column_ = share.first_column, begin_ = share.begin, end_ = share.end;
    stages_ = share.stages();
    const int64_t tokens = p_.m - share.first_token;
    tokens_left_ = static_cast<int>(tokens < kTile.tokens ? tokens : kTile.tokens) - row;
    chunk_k_ = begin_ * kSlab + chunk * 8;
    activations_ = static_cast<const std::byte*>(p_.activations) +
                   ((share.first_token + row) * p_.k + chunk_k_) * 2;
    if constexpr (Layout == WeightLayout::kCudaV1) {
      const int stripe = first_column_ / 16 + thread_ / 32;
      stripes_left_ = (p_.n + 63) / 64 * 4 - stripe;
      weights_ =
          p_.weights + (static_cast<int64_t>(stripe) * p_.slabs + begin_) * 512 + thread_ % 32 * 16;
    } else {
      const int n = first_column_ + thread_ / 2;
      stripes_left_ = (p_.n + 3) / 4 * 4 - n;
      weights_ = p_.weights + ((static_cast<int64_t>(n) / 4 * p_.slabs + begin_) * 4 + n % 4) * 32 +
                 thread_ % 2 * 16;
    }
  }

  template <int Pending>
  DOVETAIL_DEVICE void publish(int slot) const {
    ptx::copy_async_wait<Pending>();
    ptx::fence_shared_for_wgmma();
    ptx::barrier_arrive(1 + slot, kThreads);
  }

  DOVETAIL_DEVICE void load_activations(int i, int slot) const {
    std::byte* to = ring_ + slot * kStage.activation_bytes + activations_to_;
    const std::byte* from = activations_ + static_cast<int64_t>(i) * kTile.stage_k() * 2;
    DOVETAIL_UNROLL
    for (int slab = 0; slab < kTile.slabs; ++slab) {
      const bool in_k = chunk_k_ + (i * kTile.slabs + slab) * kSlab < p_.k &&
                        begin_ + i * kTile.slabs + slab < end_;
      DOVETAIL_UNROLL
      for (int r = 0; r < kTile.tokens; r += 16) {
        const bool valid = in_k && r < tokens_left_;
        ptx::copy_async_16(to + (slab * kTile.tokens + r) * 128,
                           valid ? from + (static_cast<int64_t>(r) * p_.k + slab * kSlab) * 2
                                 : static_cast<const std::byte*>(p_.activations),
                           valid ? 16 : 0);
      }
    }
  }

  DOVETAIL_DEVICE void load_constants(int i, int slot) const {
    std::byte* stage = ring_ + kStages * kStage.activation_bytes + slot * kStage.constant_bytes;
    constexpr int kChunks = kTile.columns() * 2;  // of a slab
    // Chunks of a thread lie 4 stripes, or 64 columns, apart.
    constexpr bool kFragments = Layout == WeightLayout::kCudaV1;
    const int64_t pitch = static_cast<int64_t>(p_.slabs) * 2048;
    const int first_slab = begin_ + i * kTile.slabs;
    const std::byte* from =
        weights_ + static_cast<int64_t>(i) * kTile.slabs * (kFragments ? 512 : 128);
    DOVETAIL_UNROLL
    for (int c = 0; c < kChunks / kProducerThreads; ++c) {
      DOVETAIL_UNROLL
      for (int slab = 0; slab < kTile.slabs; ++slab) {
        const bool valid = c * (kFragments ? 4 : 64) < stripes_left_ && first_slab + slab < end_;
        ptx::copy_async_16(stage + weights_to_ + slab * kTile.columns() * 32 + c * 2048,
                           valid ? from + c * pitch + slab * (kFragments ? 512 : 128) : p_.weights,
                           valid ? 16 : 0);
      }
    }
    load_rows<2>(stage + kStage.scales, p_.scales, 0, first_slab);
    if (!Plain && p_.zero_points != nullptr)
      load_rows<1>(stage + kStage.zero_points, p_.zero_points, 64, first_slab);
  }

  // By 64 threads.
  template <int Bytes>
  DOVETAIL_DEVICE void load_rows(std::byte* to, const std::byte* from, int first_thread,
                                 int slab) const {
    constexpr int kRowBytes = kTile.columns() * Bytes, kChunks = kRowBytes / 16;
    const int chunk = thread_ - first_thread;
    if (chunk < 0 || chunk >= 64) return;
    const int rows = p_.group_size >= kTile.stage_k() ? 1
                     : p_.group_size == 64            ? 2
                                                      : kTile.stage_k() / 32;
    if (p_.n * Bytes % 16 != 0) return load_ragged_rows<Bytes>(to, from, chunk, rows, slab);
    DOVETAIL_NO_UNROLL
    for (int c = chunk; c < rows * kChunks; c += 64) {
      const int row = c / kChunks, column = c % kChunks * 16;
      const int group = slab * kSlab / p_.group_size + row;
      const int left = (p_.n - first_column_) * Bytes - column;
      const bool valid = left > 0 && group * p_.group_size < p_.k;
      ptx::copy_async_16(
          to + row * kRowBytes + column,
          valid ? from + (static_cast<int64_t>(group) * p_.n + first_column_) * Bytes + column
                : from,
          valid ? (left < 16 ? left : 16) : 0);
    }
  }

  // The same for rows that are not 16-byte aligned in memory (odd N): through registers.
  template <int Bytes>
  DOVETAIL_DEVICE void load_ragged_rows(std::byte* to, const std::byte* from, int thread, int rows,
                                        int slab) const {
    using Element = std::conditional_t<Bytes == 2, uint16_t, uint8_t>;
    DOVETAIL_NO_UNROLL
    for (int i = thread; i < rows * kTile.columns(); i += 64) {
      const int row = i / kTile.columns(), n = first_column_ + i % kTile.columns();
      const int group = slab * kSlab / p_.group_size + row;
      const bool valid = n < p_.n && group * p_.group_size < p_.k;
      reinterpret_cast<Element*>(to)[i] =
          valid ? reinterpret_cast<const Element*>(from)[static_cast<int64_t>(group) * p_.n + n]
                : Element{0};
    }
  }

  const Int4GemmArguments& p_;
  std::byte* ring_;
  const std::byte *activations_, *weights_;
  int first_column_, begin_, end_, stages_, thread_;
  int tokens_left_, chunk_k_, activations_to_, stripes_left_, weights_to_;
};

}  // namespace dovetail::cuda
