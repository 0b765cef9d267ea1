// SPDX-License-Identifier: Apache-2.0
// out[M, N] = activations[M, K] x dequantize(weights)[N, K]^T (+ bias) through wgmma (sm_90a), for up
// to 64 rows, where reading the weights once is most of the work. A block owns 64 * atoms columns;
// its consumer warpgroups share K in ranges. Weights are the A operand of wgmma, tokens the columns
// of D:
//
//   weights      from memory to shared memory of the one warp that multiplies them, a few slabs
//                ahead: nobody else has to wait for them. Then through registers, dequantized and
//                rounded to the activations' type
//   activations  [tokens, 64] a slab, swizzled, with scales and zero points, by producer warps. A
//                fence between cp.async and wgmma waits for all copies of its thread, so a stage
//                under way has a warp to itself (one warp for all: 18.3 us instead of 15.5 for 32
//                rows of 4096 x 14336, 28.7 instead of 20.4 for 64)
//   sums         added in the order of the warpgroups through shared memory: where the columns fill
//                the GPU there is no second launch; else K is split over blocks as well
//
// More weights ahead delay the activations, which queue behind them: seven slabs instead of three
// 20.1 us instead of 18.7, before the producers were several.
//
// Plain: no zero points, groups of 64 or 128.
#pragma once

#include "cuda/int4_decode.cuh"
#include "cuda/int4_gemm_middle_rows_stage.cuh"

namespace dovetail::cuda {

template <class T, WeightLayout Layout, int Tile, bool Plain>
struct MiddleRowsGemm {
  using Producer = MiddleRowsProducer<Tile, Plain>;
  using Range = typename Producer::Range;
  static constexpr Int4GemmMiddleRowsTile kTile = Producer::kTile;
  static constexpr Int4GemmMiddleRowsStage kStage = Producer::kStage;
  static constexpr int kTokens = kTile.tokens, kAtoms = kTile.atoms, kColumns = kTile.columns();
  static constexpr int kWarpgroups = kTile.warpgroups, kSlots = kTile.slots();
  static constexpr int kAhead = kMiddleRowsRing - 1;  // slabs of weights
  static constexpr bool kFragments = Layout == WeightLayout::kCudaV1;

  // A warp's 16 weight rows of each atom, a ring of slabs ahead of the products: as in memory, or
  // edgellm_v1: [16 rows, 2 chunks], chunk h of row n at h ^ (n / 4 % 2).
  struct Weights {
    const std::byte* from;
    std::byte* ring;
    int64_t pitch;  // to the next 64 columns
    int left;       // columns inside N
    int to;
    DOVETAIL_DEVICE Weights(const Int4GemmArguments& p, std::byte* shared, int first_column,
                            int slab)
        : ring(shared), pitch(static_cast<int64_t>(p.slabs) * 2048) {
      const int lane = static_cast<int>(ptx::lane_index());
      int n = first_column + static_cast<int>(ptx::warp_index()) % 4 * 16;
      if constexpr (kFragments) {
        left = (p.n + 63) / 64 * 64 - n;
        to = lane * 16;
        from = p.weights + (static_cast<int64_t>(n / 16) * p.slabs + slab) * 512 + to;
      } else {
        n += lane / 2;
        left = (p.n + 3) / 4 * 4 - n;
        to = lane / 2 * 32 + (lane % 2 ^ (lane >> 3 & 1)) * 16;
        from = p.weights + ((static_cast<int64_t>(n) / 4 * p.slabs + slab) * 4 + n % 4) * 32 +
               lane % 2 * 16;
      }
    }
    // The next slab, into slot `slot`.
    DOVETAIL_DEVICE void copy(const Int4GemmArguments& p, int slot, bool valid) {
      DOVETAIL_UNROLL
      for (int atom = 0; atom < kAtoms; ++atom) {
        const bool inside = valid && atom * 64 < left;
        ptx::copy_async_16(ring + (slot * kAtoms + atom) * 512 + to,
                           inside ? from + atom * pitch : p.weights, inside ? 16 : 0);
      }
      from += kFragments ? 512 : 128;
      ptx::copy_async_commit();
    }
    // Of an atom, rows g and g + 8: word[row][32 k].
    DOVETAIL_DEVICE void load(uint32_t (&word)[kAtoms][2][2], int slot) const {
      const int lane = static_cast<int>(ptx::lane_index()), g = lane / 4, t = lane % 4;
      DOVETAIL_UNROLL
      for (int atom = 0; atom < kAtoms; ++atom) {
        const std::byte* at = ring + (slot * kAtoms + atom) * 512;
        if constexpr (kFragments) {
          const ptx::Vec4 v = *reinterpret_cast<const ptx::Vec4*>(at + to);
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
    DOVETAIL_DEVICE void load(const Int4GemmArguments& p, const std::byte* constants, int row) {
      const int g = static_cast<int>(ptx::lane_index()) / 4;
      DOVETAIL_UNROLL
      for (int i = 0; i < 2 * kAtoms; ++i) {
        const int at = row * kColumns + static_cast<int>(ptx::warp_index()) % 4 * 16 + i / 2 * 64 +
                       i % 2 * 8 + g;
        scale[i / 2][i % 2] = reinterpret_cast<const uint16_t*>(constants)[at] * 0x00010001u;
        zero_point[i / 2][i % 2] = 8;
        if (!Plain && p.zero_points != nullptr)
          zero_point[i / 2][i % 2] = static_cast<uint32_t>(constants[kStage.zero_points + at]);
      }
    }
  };

  using Sums = float[kAtoms][kTokens / 8][4];
  using Fragments = uint32_t[2][kAtoms][2][4];  // [part % 2][atom][16 k]

  struct Consumer {
    const Int4GemmArguments& p;
    Weights weights;
    ptx::SharedMatrix activations;  // of this consumer's ring
    const std::byte* constants;
    int first, asked, end, group_shift;  // slabs

    // A stage: two slabs.
    DOVETAIL_DEVICE void multiply(Sums& sums, Fragments& a, int slot) {
      const std::byte* stage = constants + slot * kStage.constant_bytes;
      const ptx::SharedMatrix tokens =
          activations.advanced(static_cast<uint32_t>(slot * kStage.activation_bytes));
      Groups groups;
      uint32_t words[kAtoms][2][2];
      DOVETAIL_UNROLL
      for (int part = 0; part < 4; ++part) {  // of 32 k
        if (part % 2 == 0) {
          ptx::copy_async_wait<kAhead - 1>();
          if (!kFragments) ptx::sync_warp();
          weights.load(words, (asked - kAhead) % kMiddleRowsRing);
          weights.copy(p, asked % kMiddleRowsRing, first + asked < end);
          ++asked;
        }
        if (!Plain || part % 2 == 0) groups.load(p, stage, part >> group_shift);
        uint32_t integers[kAtoms][2][4];
        DOVETAIL_UNROLL
        for (int atom = 0; atom < kAtoms; ++atom) {
          DOVETAIL_UNROLL
          for (int row = 0; row < 2; ++row) {
            decode_int4<T>(words[atom][row][part % 2], groups.zero_point[atom][row],
                           integers[atom][row]);
          }
        }
        // The part two before this one is done: its fragments may be written again.
        ptx::wait_wgmma<1>();
        DOVETAIL_UNROLL
        for (int atom = 0; atom < kAtoms; ++atom) {
          DOVETAIL_UNROLL
          for (int i = 0; i < 4; ++i) {
            a[part % 2][atom][0][i] =
                ptx::mul2<T>(integers[atom][i % 2][i / 2], groups.scale[atom][i % 2]);
            a[part % 2][atom][1][i] =
                ptx::mul2<T>(integers[atom][i % 2][2 + i / 2], groups.scale[atom][i % 2]);
          }
        }
        ptx::fence_wgmma();
        DOVETAIL_UNROLL
        for (int step = 0; step < 2; ++step) {
          const int at = part / 2 * kTokens * 128 + (part % 2 * 2 + step) * 32;
          const ptx::SharedMatrix b = tokens.advanced(static_cast<uint32_t>(at));
          DOVETAIL_UNROLL
          for (int atom = 0; atom < kAtoms; ++atom) {
            ptx::wgmma<T, kTokens, false>(sums[atom], a[part % 2][atom][step], b);
          }
        }
        ptx::commit_wgmma();
      }
    }
  };

  static DOVETAIL_DEVICE void consume(Sums& sums, const Int4GemmArguments& p, std::byte* ring,
                                      int warpgroup) {
    const Range range(p, warpgroup);
    const int first_column = static_cast<int>(ptx::block_index().x) / p.splits * kColumns;
    std::byte* constants = ring + kWarpgroups * kSlots * kStage.activation_bytes;
    std::byte* codes = constants + kWarpgroups * kSlots * kStage.constant_bytes +
                       static_cast<int>(ptx::warp_index()) * kMiddleRowsRing * kAtoms * 512;
    Consumer c{
        .p = p,
        .weights = Weights(p, codes, first_column, range.begin),
        .activations = ptx::shared_matrix(ring + warpgroup * kSlots * kStage.activation_bytes),
        .constants = constants + warpgroup * kSlots * kStage.constant_bytes,
        .first = range.begin,
        .asked = kAhead,
        .end = range.end,
        .group_shift = p.group_size / 64};
    DOVETAIL_NO_UNROLL
    for (int s = 0; s < kAhead; ++s) c.weights.copy(p, s, range.begin + s < range.end);
    const int stages = range.stages();
    Fragments a;
    int slot = 0, producer = 0;
    const auto next = [&] {
      ptx::barrier_sync(Producer::barrier(warpgroup, producer), Producer::kHandover);
      c.multiply(sums, a, slot);
      slot = slot == kSlots - 1 ? 0 : slot + 1;
      producer = producer == kTile.producers - 1 ? 0 : producer + 1;
    };
    // In pairs: ptxas serialises the products of a loop of one stage (warning C7515).
    DOVETAIL_NO_UNROLL
    for (int i = 0; i < stages / 2; ++i) next(), next();
    DOVETAIL_UNROLL
    for (int atom = 0; atom < kAtoms; ++atom) ptx::wait_wgmma<0>(sums[atom]);
    if (stages % 2 != 0) next();
    DOVETAIL_UNROLL
    for (int atom = 0; atom < kAtoms; ++atom) ptx::wait_wgmma<0>(sums[atom]);
    ptx::copy_async_wait<0>();
  }

  // ---- the sums ----

  static constexpr int kPitch = kColumns + 4;  // floats of a token
  static constexpr int kConsumers = 128 * kWarpgroups, kFoldBarrier = 15;

  static DOVETAIL_DEVICE void fold_and_store(const Sums& sums, const Int4GemmArguments& p,
                                             float* fold, int warpgroup) {
    const int lane = static_cast<int>(ptx::lane_index()), g = lane / 4, t = lane % 4;
    const int thread = static_cast<int>(ptx::thread_index().x);
    const int first_column = static_cast<int>(ptx::block_index().x) / p.splits * kColumns;
    ptx::barrier_sync(kFoldBarrier, kConsumers);  // the ring is free
    float* mine = fold + warpgroup * kTokens * kPitch + thread % 128 / 32 * 16 + g;
    DOVETAIL_UNROLL
    for (int i = 0; i < 2 * kAtoms; ++i) {
      DOVETAIL_UNROLL
      for (int j = 0; j < kTokens / 4; ++j) {
        mine[(j / 2 * 8 + 2 * t + j % 2) * kPitch + i / 2 * 64 + i % 2 * 8] =
            sums[i / 2][j / 2][i % 2 * 2 + j % 2];
      }
    }
    ptx::barrier_sync(kFoldBarrier, kConsumers);
    constexpr int kQuads = kColumns / 4;
    DOVETAIL_NO_UNROLL
    for (int i = thread; i < static_cast<int>(p.m) * kQuads; i += kConsumers) {
      const float* at = fold + i / kQuads * kPitch + i % kQuads * 4;
      ptx::Float4 sum = *reinterpret_cast<const ptx::Float4*>(at);
      DOVETAIL_UNROLL
      for (int w = 1; w < kWarpgroups; ++w) {
        const auto& v = *reinterpret_cast<const ptx::Float4*>(at + w * kTokens * kPitch);
        sum = {sum.x + v.x, sum.y + v.y, sum.z + v.z, sum.w + v.w};
      }
      write(p, sum, i / kQuads, first_column + i % kQuads * 4);
    }
  }
  // Four neighbouring columns of a token.
  static DOVETAIL_DEVICE void write(const Int4GemmArguments& p, const ptx::Float4& sum, int token,
                                    int n) {
    if (n >= p.n) return;
    float v[4] = {sum.x, sum.y, sum.z, sum.w};
    if (p.bias != nullptr && p.splits == 1) {
      DOVETAIL_UNROLL
      for (int e = 0; e < 4; ++e)
        if (n + e < p.n) v[e] += ptx::to_float(static_cast<const T*>(p.bias)[n + e]);
    }
    const int64_t at = static_cast<int64_t>(token) * p.n + n;
    if (p.splits > 1) {
      const int split = static_cast<int>(ptx::block_index().x) % p.splits;
      store(p.partials + split * p.m * p.n + at, p.n - n, v, p.n % 4 == 0);
    } else {
      store(static_cast<T*>(p.output) + at, p.n - n, v, p.n % 4 == 0);
    }
  }
  // 16 bytes of float or 8 of T where no row's end divides four.
  template <class Out>
  static DOVETAIL_DEVICE void store(Out* to, int left, const float (&v)[4], bool whole) {
    if constexpr (std::is_same_v<Out, float>) {
      if (whole) {
        *reinterpret_cast<ptx::Float4*>(to) = {v[0], v[1], v[2], v[3]};
        return;
      }
    } else if (whole) {
      *reinterpret_cast<ptx::Vec2*>(to) = {ptx::pack2<T>(v[0], v[1]), ptx::pack2<T>(v[2], v[3])};
      return;
    }
    DOVETAIL_UNROLL
    for (int e = 0; e < 4; ++e) {
      if (e >= left) break;
      if constexpr (std::is_same_v<Out, float>) {
        to[e] = v[e];
      } else {
        to[e] = ptx::round_to<T>(v[e]);
      }
    }
  }
};

// grid: blocks_n x splits
template <class T, WeightLayout Layout, int Tile, bool Plain>
DOVETAIL_KERNEL(kInt4GemmMiddleRowsTiles[Tile].threads(), 1)
int4_gemm_middle_rows_kernel(const DOVETAIL_GRID_CONSTANT Int4GemmArguments p) {
  using Gemm = MiddleRowsGemm<T, Layout, Tile, Plain>;
  constexpr Int4GemmMiddleRowsTile kTile = Gemm::kTile;
  // Registers that the producers leave to the consumers, of all that the block was started with.
  constexpr int kProducers = 56;
  constexpr int kConsumers =
      (65536 - kProducers * 32 * kMiddleRowsProducers) / (128 * kTile.warpgroups) / 8 * 8;
  static_assert(kTile.threads() == 512 && kConsumers <= 232);
  auto* start = ptx::shared_memory<std::byte>();
  std::byte* ring = start + (1024 - reinterpret_cast<uintptr_t>(start) % 1024) % 1024;
  ptx::let_next_kernel_start();
  // Uniform, so that addresses of stages stay in uniform registers.
  const int warp = static_cast<int>(ptx::shuffle(ptx::warp_index(), 0));
  if (warp >= 4 * kTile.warpgroups) {
    ptx::give_up_registers<kProducers>();
    const int producer = warp - 4 * kTile.warpgroups;
    if (producer < kTile.warpgroups * kTile.producers)
      Gemm::Producer::produce(p, ring, producer % kTile.warpgroups, producer / kTile.warpgroups);
  } else {
    ptx::take_registers<kConsumers>();
    typename Gemm::Sums sums = {};
    Gemm::consume(sums, p, ring, warp / 4);
    ptx::wait_for_previous_kernel();
    Gemm::fold_and_store(sums, p, reinterpret_cast<float*>(ring), warp / 4);
  }
}

}  // namespace dovetail::cuda
