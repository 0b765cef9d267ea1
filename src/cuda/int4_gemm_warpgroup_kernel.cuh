// SPDX-License-Identifier: Apache-2.0
// out[M, N] = activations[M, K] x dequantize(weights)[N, K]^T (+ bias) through wgmma (sm_90a), for
// more rows than the few-row kernel takes. Weights are the A operand, dequantized in registers and
// rounded to the activations' type; tokens are the columns of D:
//
//                 tokens
//               +--------+   consumer warpgroups of 64 * atoms weight rows each: codes and scales
//   consumer 0  | atom 0 |   from the ring to fragments, half a stage at a time, while the products
//               | atom 1 |   of the half before run
//               +--------+
//   consumer 1  |  ...   |   a producer warpgroup: int4_gemm_warpgroup_stage.cuh
//               +--------+
//
// A block takes shares of the work in turn. A consumer's sums leave through shared memory of its
// own, some tokens at a time, in 16-byte pieces of rows; the other consumer may still multiply.
//
// Plain: no zero points, groups of 64 or 128.
#pragma once

#include "cuda/int4_decode.cuh"
#include "cuda/int4_gemm_warpgroup_stage.cuh"

namespace dovetail::cuda {

template <class T, WeightLayout Layout, int Tile, bool Plain>
struct WarpgroupGemm {
  using Producer = WarpgroupProducer<Layout, Tile, Plain>;
  static constexpr Int4GemmWarpgroupTile kTile = kInt4GemmWarpgroupTiles[Tile];
  static constexpr Int4GemmWarpgroupStage kStage = Producer::kStage;
  static constexpr int kTokens = kTile.tokens, kAtoms = kTile.atoms, kStages = kTile.stages;
  // A part, of 32 or 64 k, is what is dequantized while the part before is multiplied. Zero points
  // leave the wide tiles no registers for 64.
  static constexpr bool kWide = kTokens * kAtoms >= 128;
  static constexpr int kHalves = !Plain && kWide ? 1 : kTile.slabs;  // of 32 k in a part
  static constexpr int kParts = 2 * kTile.slabs / kHalves, kSteps = 2 * kHalves;
  static constexpr int kThreads = kTile.threads();
  static constexpr int kRingBytes = kStages * (kStage.activation_bytes + kStage.constant_bytes);
  static_assert(kRingBytes % 16 == 0);

  // A lane's rows are g and g + 8 of its warp's 16 rows of an atom.
  struct Codes {
    uint32_t word[kAtoms][2][2];  // [atom][row][32-k half]
    DOVETAIL_DEVICE void load(const std::byte* constants, int column) {
      const int lane = static_cast<int>(ptx::lane_index()), g = lane / 4, t = lane % 4;
      DOVETAIL_UNROLL
      for (int atom = 0; atom < kAtoms; ++atom) {
        const std::byte* at = constants + (column + atom * 64) * 32;
        if constexpr (Layout == WeightLayout::kCudaV1) {
          const ptx::Vec4 v = *reinterpret_cast<const ptx::Vec4*>(at + lane * 16);
          word[atom][0][0] = v.x, word[atom][0][1] = v.y;
          word[atom][1][0] = v.z, word[atom][1][1] = v.w;
        } else {
          DOVETAIL_UNROLL
          for (int i = 0; i < 4; ++i) {
            const int row = g + i / 2 * 8, half = i % 2 ^ (row >> 2 & 1);
            word[atom][i / 2][i % 2] =
                *reinterpret_cast<const uint32_t*>(at + row * 32 + half * 16 + t * 4);
          }
        }
      }
    }
  };

  struct Groups {
    uint32_t scale[kAtoms][2], zero_point[kAtoms][2];
    DOVETAIL_DEVICE void load(const Int4GemmArguments& p, const std::byte* constants, int column,
                              int row) {
      const int g = static_cast<int>(ptx::lane_index()) / 4;
      DOVETAIL_UNROLL
      for (int i = 0; i < 2 * kAtoms; ++i) {
        const int at = row * kTile.columns() + column + i / 2 * 64 + i % 2 * 8 + g;
        scale[i / 2][i % 2] =
            reinterpret_cast<const uint16_t*>(constants + kStage.scales)[at] * 0x00010001u;
        zero_point[i / 2][i % 2] = 8;
        if (!Plain && p.zero_points != nullptr)
          zero_point[i / 2][i % 2] = static_cast<uint32_t>(constants[kStage.zero_points + at]);
      }
    }
  };

  // Of 32 k of an atom, rows g and g + 8: u - z, then the A fragments of two products, (u - z) * s.
  using Integers = uint32_t[2][4];
  static DOVETAIL_DEVICE void scale_fragments(uint32_t (&a)[4], uint32_t (&b)[4],
                                              const Integers& pair, const uint32_t (&scale)[2]) {
    DOVETAIL_UNROLL
    for (int i = 0; i < 4; ++i) {
      a[i] = ptx::mul2<T>(pair[i % 2][i / 2], scale[i % 2]);
      b[i] = ptx::mul2<T>(pair[i % 2][2 + i / 2], scale[i % 2]);
    }
  }

  using Sums = float[kAtoms][kTokens / 8][4];

  // Adds `stages` stages from `slot` on; column: this warp's first in the block.
  static DOVETAIL_DEVICE void consume(Sums& sums, const Int4GemmArguments& p, std::byte* ring,
                                      int column, int stages, int& slot) {
    const ptx::SharedMatrix activations = ptx::shared_matrix(ring);
    const std::byte* constants = ring + kStages * kStage.activation_bytes;
    // Groups of a stage lie 32 << shift k apart.
    const int group_shift = p.group_size / 64;  // 0, 1, 2
    uint32_t a[2][kAtoms][kSteps][4];           // [part % 2]
    DOVETAIL_NO_UNROLL
    for (int i = 0; i < stages; ++i) {
      ptx::barrier_sync(1 + slot, kThreads);
      const std::byte* stage = constants + slot * kStage.constant_bytes;
      const ptx::SharedMatrix tokens =
          activations.advanced(static_cast<uint32_t>(slot * kStage.activation_bytes));
      Codes codes;
      Groups groups[kHalves];
      DOVETAIL_UNROLL
      for (int part = 0; part < kParts; ++part) {
        Integers integers[kHalves][kAtoms];
        DOVETAIL_UNROLL
        for (int half = 0; half < kHalves; ++half) {
          const int quarter = part * kHalves + half;  // of 32 k in the stage
          if (quarter % 2 == 0) codes.load(stage + quarter / 2 * kTile.columns() * 32, column);
          if (!Plain || quarter % 2 == 0) {
            groups[half].load(p, stage, column, quarter >> group_shift);
          } else if (half == 1) {
            groups[1] = groups[0];
          }
          DOVETAIL_UNROLL
          for (int atom = 0; atom < kAtoms; ++atom) {
            DOVETAIL_UNROLL
            for (int row = 0; row < 2; ++row) {
              decode_int4<T>(codes.word[atom][row][quarter % 2], groups[half].zero_point[atom][row],
                             integers[half][atom][row]);
            }
          }
        }
        // The part two before this one is done: its fragments may be written again. At the second
        // part that is the stage before this one.
        ptx::wait_wgmma<1>();
        if (part == 1 && i > 0) free_stage_before(slot);
        DOVETAIL_UNROLL
        for (int half = 0; half < kHalves; ++half) {
          DOVETAIL_UNROLL
          for (int atom = 0; atom < kAtoms; ++atom) {
            scale_fragments(a[part % 2][atom][half * 2], a[part % 2][atom][half * 2 + 1],
                            integers[half][atom], groups[half].scale[atom]);
          }
        }
        ptx::fence_wgmma();
        DOVETAIL_UNROLL
        for (int step = 0; step < kSteps; ++step) {
          const int k16 = part * kSteps + step, at = k16 / 4 * kTokens * 128 + k16 % 4 * 32;
          const ptx::SharedMatrix b = tokens.advanced(static_cast<uint32_t>(at));
          DOVETAIL_UNROLL
          for (int atom = 0; atom < kAtoms; ++atom) {
            ptx::wgmma<T, kTokens, false>(sums[atom], a[part % 2][atom][step], b);
          }
        }
        ptx::commit_wgmma();
      }
      slot = slot == kStages - 1 ? 0 : slot + 1;
    }
    DOVETAIL_UNROLL
    for (int atom = 0; atom < kAtoms; ++atom) ptx::wait_wgmma<0>(sums[atom]);
    free_stage_before(slot);
  }
  static DOVETAIL_DEVICE void free_stage_before(int slot) {
    ptx::barrier_arrive(1 + kStages + (slot == 0 ? kStages - 1 : slot - 1), kThreads);
  }

  // Through `shared` [tokens of a round, columns + a pad: a warp's stores are in different banks].
  template <class Out>
  static DOVETAIL_DEVICE void store(const Sums& sums, const Int4GemmArguments& p, std::byte* shared,
                                    Out* out, int64_t first_token, int first_column) {
    constexpr int kElements = 16 / static_cast<int>(sizeof(Out)), kColumns = kAtoms * 64;
    constexpr int kPitch = kColumns + kElements;
    constexpr int kMost = kWarpgroupSumBytes / (kPitch * static_cast<int>(sizeof(Out))) / 8 * 8;
    constexpr int kRound = kMost < kTokens ? (kMost & 64 ? 64 : kMost & 32 ? 32 : 16) : kTokens;
    static_assert(kTokens % kRound == 0);
    const int lane = static_cast<int>(ptx::lane_index()), g = lane / 4, t = lane % 4;
    const int thread = static_cast<int>(ptx::thread_index().x) % 128;
    const int barrier = 15 - static_cast<int>(ptx::warp_index()) / 4;
    Out* tile = reinterpret_cast<Out*>(shared);
    const int column = thread / 32 * 16 + g;
    float bias[2 * kAtoms] = {};
    if constexpr (!std::is_same_v<Out, float>) {
      if (p.bias != nullptr) {
        DOVETAIL_UNROLL
        for (int i = 0; i < 2 * kAtoms; ++i) {
          const int n = first_column + column + i / 2 * 64 + i % 2 * 8;
          if (n < p.n) bias[i] = ptx::to_float(static_cast<const T*>(p.bias)[n]);
        }
      }
    }
    constexpr int kChunks = kColumns / kElements;  // of 16 bytes in a row
    const int rows = static_cast<int>(p.m - first_token < kTokens ? p.m - first_token : kTokens);
    const int from_column = thread % kChunks * kElements;
    const int columns = p.n - first_column - from_column;
    const bool whole = p.n % kElements == 0;
    DOVETAIL_UNROLL
    for (int first = 0; first < kTokens; first += kRound) {
      if (first >= rows) break;
      if (first > 0) ptx::barrier_sync(barrier, 128);
      DOVETAIL_UNROLL
      for (int i = 0; i < 2 * kAtoms; ++i) {
        DOVETAIL_UNROLL
        for (int j = 0; j < kRound / 4; ++j) {
          const float v = sums[i / 2][first / 8 + j / 2][i % 2 * 2 + j % 2] + bias[i];
          Out& to = tile[(j / 2 * 8 + 2 * t + j % 2) * kPitch + column + i / 2 * 64 + i % 2 * 8];
          if constexpr (std::is_same_v<Out, float>) {
            to = v;
          } else {
            to = ptx::round_to<T>(v);
          }
        }
      }
      ptx::barrier_sync(barrier, 128);
      DOVETAIL_NO_UNROLL
      for (int row = thread / kChunks; row < kRound && first + row < rows; row += 128 / kChunks) {
        const Out* from = tile + row * kPitch + from_column;
        Out* to = out + (first_token + first + row) * p.n + first_column + from_column;
        if (whole) {
          if (columns > 0)
            *reinterpret_cast<ptx::Vec4*>(to) = *reinterpret_cast<const ptx::Vec4*>(from);
        } else {
          DOVETAIL_NO_UNROLL
          for (int i = 0; i < kElements && i < columns; ++i) to[i] = from[i];
        }
      }
    }
    ptx::barrier_sync(barrier, 128);  // for the next share
  }
};

template <class T, WeightLayout Layout, int Tile, bool Plain>
DOVETAIL_KERNEL(kInt4GemmWarpgroupTiles[Tile].threads(), kInt4GemmWarpgroupTiles[Tile].blocks)
int4_gemm_warpgroup_kernel(const DOVETAIL_GRID_CONSTANT Int4GemmArguments p) {
  using Gemm = WarpgroupGemm<T, Layout, Tile, Plain>;
  constexpr Int4GemmWarpgroupTile kTile = Gemm::kTile;
  // Registers that the producer leaves to the consumers, of all that the block was started with.
  constexpr bool kMoveRegisters = Gemm::kWide;
  constexpr int kAll = 65536 / kTile.threads() / 8 * 8 * kTile.threads(), kProducers = 56;
  constexpr int kConsumers = (kAll - kProducers * 128) / (128 * kTile.warpgroups) / 8 * 8;
  auto* start = ptx::shared_memory<std::byte>();
  std::byte* ring = start + (1024 - reinterpret_cast<uintptr_t>(start) % 1024) % 1024;
  ptx::let_next_kernel_start();
  // Uniform, so that addresses of stages stay in uniform registers.
  const int warp = static_cast<int>(ptx::shuffle(ptx::warp_index(), 0));
  if (warp >= 4 * kTile.warpgroups) {
    if constexpr (kMoveRegisters) ptx::give_up_registers<kProducers>();
    typename Gemm::Producer(p, ring).run();
  } else {
    if constexpr (kMoveRegisters) ptx::take_registers<kConsumers>();
    const int warpgroup = warp / 4, first = warpgroup * 64 * Gemm::kAtoms;
    std::byte* shared = ring + Gemm::kRingBytes + warpgroup * kWarpgroupSumBytes;
    const int count = WarpgroupShare<Tile>::count(p);
    int slot = 0;
    DOVETAIL_NO_UNROLL
    for (int index = static_cast<int>(ptx::block_index().x); index < count;
         index += static_cast<int>(ptx::grid_size().x)) {
      const WarpgroupShare<Tile> share(p, index);
      typename Gemm::Sums sums = {};
      Gemm::consume(sums, p, ring, first + warp % 4 * 16, share.stages(), slot);
      ptx::wait_for_previous_kernel();
      if (p.splits > 1) {
        Gemm::store(sums, p, shared, p.partials + share.split * p.m * p.n, share.first_token,
                    share.first_column + first);
      } else {
        Gemm::store(sums, p, shared, static_cast<T*>(p.output), share.first_token,
                    share.first_column + first);
      }
    }
  }
}

}  // namespace dovetail::cuda
