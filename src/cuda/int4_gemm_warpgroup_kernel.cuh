// SPDX-License-Identifier: Apache-2.0
// out[M, N] = activations[M, K] x dequantize(weights)[N, K]^T (+ bias) through wgmma (sm_90a), for
// more rows than the few-row kernel takes. Weights are the A operand, dequantized in registers and
// rounded to the activations' type; tokens are the columns of D:
//
//                 Tokens
//               +--------+   two consumer warpgroups of 64 * Atoms weight rows each: a lane's fragments
//   consumer 0  | atom 0 |   of 64 k are 16 bytes of a cuda_v1 block, from global memory straight to
//               | atom 1 |   registers, `Ahead` slabs before their use
//               +--------+
//   consumer 1  |  ...   |   one producer warpgroup: slabs of 64 k of the activations into a ring of
//               +--------+   stages (cp.async, swizzled), published `Lag` slabs later
//
// Plain: no zero points, groups of 64 or 128.
//
// Named barriers: 1 + s, stage s is full; 1 + Stages + s, it is empty.
#pragma once

#include "cuda/int4_decode.cuh"
#include "cuda/int4_gemm_plan.h"
#include "cuda/int4_gemm_stage.cuh"
#include "cuda/ptx/wgmma.cuh"

namespace dovetail::cuda {

template <class T, WeightLayout Layout, int Tile, bool Plain>
struct WarpgroupGemm {
  static constexpr Int4GemmWarpgroupTile kTile = kInt4GemmWarpgroupTiles[Tile];
  static constexpr int kTokens = kTile.tokens, kAtoms = kTile.atoms, kStages = kTile.stages;
  static constexpr int kStageBytes = kTokens * 128;
  static constexpr int kConsumers = 256, kThreads = kWarpgroupThreads;
  static_assert(2 * kStages < 16, "named barriers");

  // Activations, by the 128 threads of the producer.
  static DOVETAIL_DEVICE void produce(const Int4GemmArguments& p, std::byte* ring,
                                      int64_t first_row, int begin, int end) {
    constexpr int kLag = kTile.lag;
    const int thread = static_cast<int>(ptx::thread_index().x) - kConsumers;
    const int row = thread / 8, chunk = thread % 8;
    const auto* from = static_cast<const std::byte*>(p.activations);
    const int slabs = end - begin;
    ptx::wait_for_previous_kernel();
    int slot = 0;
    DOVETAIL_NO_UNROLL
    for (int i = 0; i < slabs; ++i) {
      if (i >= kStages) ptx::barrier_sync(1 + kStages + slot, kThreads);
      const int k = (begin + i) * kSlab + chunk * 8;
      std::byte* to = ring + slot * kStageBytes + row * 128 + (chunk ^ (row & 7)) * 16;
      DOVETAIL_UNROLL
      for (int r = 0; r < kTokens; r += 16) {
        const int64_t m = first_row + row + r;
        const bool valid = m < p.m && k < p.k;
        ptx::copy_async_16(to + r * 128, valid ? from + (m * p.k + k) * 2 : from, valid ? 16 : 0);
      }
      ptx::copy_async_commit();
      if (i >= kLag) publish<kLag>(slot < kLag ? slot + kStages - kLag : slot - kLag);
      slot = slot == kStages - 1 ? 0 : slot + 1;
    }
    DOVETAIL_NO_UNROLL
    for (int i = slabs < kLag ? 0 : slabs - kLag; i < slabs; ++i) publish<0>(i % kStages);
  }
  template <int Pending>
  static DOVETAIL_DEVICE void publish(int slot) {
    ptx::copy_async_wait<Pending>();
    ptx::fence_shared_for_wgmma();
    ptx::barrier_arrive(1 + slot, kThreads);
  }

  // What a lane needs of the weights: rows g and g + 8 of its warp's 16 rows of an atom.
  struct Weights {
    static constexpr bool kFragments = Layout == WeightLayout::kCudaV1;
    const std::byte* words[kAtoms][kFragments ? 1 : 2];
    int32_t n[kAtoms][2];  // beyond N: another row's, never stored

    DOVETAIL_DEVICE Weights(const Int4GemmArguments& p, int first_row) {
      const int lane = static_cast<int>(ptx::lane_index()), g = lane / 4, t = lane % 4;
      const int64_t row_bytes = static_cast<int64_t>(p.slabs) * 32;
      DOVETAIL_UNROLL
      for (int atom = 0; atom < kAtoms; ++atom) {
        const int first = first_row + atom * 64;
        DOVETAIL_UNROLL
        for (int i = 0; i < 2; ++i) {
          const int row = first + g + 8 * i;
          n[atom][i] = row < p.n ? row : p.n - 1;
          if constexpr (!kFragments) {
            const int r = n[atom][i];
            words[atom][i] = p.weights + r / 4 * 4 * row_bytes + r % 4 * 32 + t * 4;
          }
        }
        if constexpr (kFragments) {
          words[atom][0] = p.weights + (first < p.n ? first : 0) * row_bytes + lane * 16;
        }
      }
    }
    // Words of (row g, first 32 k), (g, second), (g + 8, first), (g + 8, second).
    DOVETAIL_DEVICE ptx::Vec4 load(int atom, int slab) const {
      if constexpr (kFragments) {
        return ptx::load_stream_16(words[atom][0] + static_cast<int64_t>(slab) * 512);
      } else {
        const std::byte* low = words[atom][0] + static_cast<int64_t>(slab) * 128;
        const std::byte* high = words[atom][1] + static_cast<int64_t>(slab) * 128;
        return {ptx::load_constant_4(low), ptx::load_constant_4(low + 16),
                ptx::load_constant_4(high), ptx::load_constant_4(high + 16)};
      }
    }
    DOVETAIL_DEVICE uint32_t load_scale(const Int4GemmArguments& p, int atom, int i,
                                        int group) const {
      return reinterpret_cast<const uint16_t*>(
          p.scales)[static_cast<int64_t>(group) * p.n + n[atom][i]];
    }
    DOVETAIL_DEVICE uint32_t load_zero_point(const Int4GemmArguments& p, int atom, int i,
                                             int group) const {
      if (Plain || p.zero_points == nullptr) return 8;
      return static_cast<uint32_t>(p.zero_points[static_cast<int64_t>(group) * p.n + n[atom][i]]);
    }
  };

  // Scales and zero points of 32 k, as loaded.
  struct Groups {
    uint32_t scale[kAtoms][2], zero_point[kAtoms][2];
    DOVETAIL_DEVICE void load(const Int4GemmArguments& p, const Weights& weights, int half_slab) {
      int group = half_slab * 32 / p.group_size;
      if (!Plain && (p.k & 63) != 0 && half_slab * 32 >= p.k)
        group = 0;  // padding: its activations are zero
      DOVETAIL_UNROLL
      for (int atom = 0; atom < kAtoms; ++atom) {
        DOVETAIL_UNROLL
        for (int i = 0; i < 2; ++i) {
          scale[atom][i] = weights.load_scale(p, atom, i, group);
          zero_point[atom][i] = weights.load_zero_point(p, atom, i, group);
        }
      }
    }
  };

  // A fragments of two products: (u - z) * s, rounded once.
  static DOVETAIL_DEVICE void dequantize(uint32_t (&a)[2][4], uint32_t low, uint32_t high,
                                         const uint32_t (&zero_point)[2],
                                         const uint32_t (&scale)[2]) {
    uint32_t pair[2][4];
    decode_int4<T>(low, zero_point[0], pair[0]);
    decode_int4<T>(high, zero_point[1], pair[1]);
    DOVETAIL_UNROLL
    for (int step = 0; step < 2; ++step) {
      DOVETAIL_UNROLL
      for (int i = 0; i < 4; ++i) {
        a[step][i] = ptx::mul2<T>(pair[i % 2][2 * step + i / 2], scale[i % 2] * 0x00010001u);
      }
    }
  }

  using Sums = float[kAtoms][kTokens / 8][4];

  // By the two consumers; first_row: of this warp's first 16 weight rows.
  static DOVETAIL_DEVICE void consume(Sums& sums, const Int4GemmArguments& p, std::byte* ring,
                                      int first_row, int begin, int end) {
    constexpr int kAhead =
        Plain ? kTile.ahead : 1;  // zero points take the registers of a second slab
    const bool halves = !Plain && p.group_size == 32;  // two groups a slab
    const Weights weights(p, first_row);
    const ptx::SharedMatrix activations = ptx::shared_matrix(ring);
    ptx::Vec4 raw[kAhead][kAtoms];
    DOVETAIL_UNROLL
    for (int i = 0; i < kAhead; ++i) {
      DOVETAIL_UNROLL
      for (int atom = 0; atom < kAtoms; ++atom) {
        if (begin + i < end) raw[i][atom] = weights.load(atom, begin + i);
      }
    }
    Groups groups, groups_ahead;
    groups_ahead.load(p, weights, 2 * begin);
    uint32_t a[2][kAtoms][2][4];  // [32-k half][atom][product][fragment]
    int slot = 0;
    DOVETAIL_NO_UNROLL
    for (int first = begin; first < end; first += kAhead) {
      DOVETAIL_UNROLL
      for (int i = 0; i < kAhead; ++i) {
        const int slab = first + i;
        if (slab >= end) break;
        DOVETAIL_UNROLL
        for (int half = 0; half < 2; ++half) {
          if (half == 0 || halves) {
            groups = groups_ahead;
            const int next = 2 * slab + (halves ? half + 1 : 2);
            if (next < 2 * end) groups_ahead.load(p, weights, next);
          }
          DOVETAIL_UNROLL
          for (int atom = 0; atom < kAtoms; ++atom) {
            const ptx::Vec4& v = raw[i][atom];
            dequantize(a[half][atom], half == 0 ? v.x : v.y, half == 0 ? v.z : v.w,
                       groups.zero_point[atom], groups.scale[atom]);
          }
          if (half == 0) {
            ptx::barrier_sync(1 + slot, kThreads);
          } else if (slab + kAhead < end) {
            DOVETAIL_UNROLL
            for (int atom = 0; atom < kAtoms; ++atom)
              raw[i][atom] = weights.load(atom, slab + kAhead);
          }
          ptx::fence_wgmma();
          DOVETAIL_UNROLL
          for (int step = 0; step < 2; ++step) {
            const ptx::SharedMatrix b = activations.advanced(
                static_cast<uint32_t>(slot * kStageBytes + half * 64 + step * 32));
            DOVETAIL_UNROLL
            for (int atom = 0; atom < kAtoms; ++atom) {
              ptx::wgmma_along_k<T, kTokens>(sums[atom], a[half][atom][step], b);
            }
          }
          ptx::commit_wgmma();
          ptx::wait_wgmma<1>();  // the half before this one, and with it the stage before this one
          if (half == 0 && slab > begin && slab - 1 + kStages < end) {
            ptx::barrier_arrive(1 + kStages + (slot == 0 ? kStages - 1 : slot - 1), kThreads);
          }
        }
        slot = slot == kStages - 1 ? 0 : slot + 1;
      }
    }
    DOVETAIL_UNROLL
    for (int atom = 0; atom < kAtoms; ++atom) ptx::wait_wgmma<0>(sums[atom]);
  }

  static DOVETAIL_DEVICE void store(const Sums& sums, const Int4GemmArguments& p,
                                    int64_t first_token, int first_row, int split) {
    const int lane = static_cast<int>(ptx::lane_index()), g = lane / 4, t = lane % 4;
    const int64_t first = first_token + 2 * t;
    const int rows = static_cast<int>(p.m - first < kTokens ? p.m - first : kTokens);
    DOVETAIL_UNROLL
    for (int i = 0; i < 2 * kAtoms; ++i) {
      const int atom = i / 2, n = first_row + atom * 64 + g + 8 * (i % 2);
      if (n >= p.n) break;
      if (p.splits > 1) {
        float* at = p.partials + (split * p.m + first) * p.n + n;
        DOVETAIL_UNROLL
        for (int j = 0; j < kTokens / 4; ++j) {
          const int row = j / 2 * 8 + j % 2;
          if (row < rows)
            at[static_cast<int64_t>(row) * p.n] = sums[atom][j / 2][i % 2 * 2 + j % 2];
        }
      } else {
        const float bias =
            p.bias != nullptr ? ptx::to_float(static_cast<const T*>(p.bias)[n]) : 0.0f;
        T* at = static_cast<T*>(p.output) + first * p.n + n;
        DOVETAIL_UNROLL
        for (int j = 0; j < kTokens / 4; ++j) {
          const int row = j / 2 * 8 + j % 2;
          if (row < rows) {
            at[static_cast<int64_t>(row) * p.n] =
                ptx::round_to<T>(sums[atom][j / 2][i % 2 * 2 + j % 2] + bias);
          }
        }
      }
    }
  }
};

// grid: (blocks of tokens, blocks of weight rows, splits)
template <class T, WeightLayout Layout, int Tile, bool Plain>
DOVETAIL_KERNEL(kWarpgroupThreads, 1)
int4_gemm_warpgroup_kernel(const DOVETAIL_GRID_CONSTANT Int4GemmArguments p) {
  using Gemm = WarpgroupGemm<T, Layout, Tile, Plain>;
  constexpr bool kMoveRegisters = Gemm::kTile.tokens * Gemm::kTile.atoms > 128;
  auto* start = ptx::shared_memory<std::byte>();
  std::byte* ring = start + (1024 - reinterpret_cast<uintptr_t>(start) % 1024) % 1024;
  const int64_t first_token = static_cast<int64_t>(ptx::block_index().x) * Gemm::kTokens;
  const int split = static_cast<int>(ptx::block_index().z);
  const int begin = split * p.slabs_per_split;
  const int end = begin + p.slabs_per_split < p.slabs ? begin + p.slabs_per_split : p.slabs;
  ptx::let_next_kernel_start();
  const int warp = static_cast<int>(ptx::warp_index());
  if (warp >= 8) {
    if constexpr (kMoveRegisters) ptx::give_up_registers<56>();
    Gemm::produce(p, ring, first_token, begin, end);
  } else {
    if constexpr (kMoveRegisters) ptx::take_registers<224>();
    const int first_row = static_cast<int>(ptx::block_index().y) * Gemm::kTile.columns() +
                          warp / 4 * 64 * Gemm::kAtoms + warp % 4 * 16;
    typename Gemm::Sums sums = {};
    Gemm::consume(sums, p, ring, first_row, begin, end);
    ptx::wait_for_previous_kernel();
    Gemm::store(sums, p, first_token, first_row, split);
  }
}

}  // namespace dovetail::cuda
