// SPDX-License-Identifier: Apache-2.0
// out[M, N] = activations[M, K] x dequantize(weights)[N, K]^T (+ bias) for few rows: M up to 8 *
// TokenTiles. The weights are read once, at the speed of memory, by as few instructions as possible:
//
//   - 16 weight rows are the A operand of mma.m16n8k16, tokens the n8 operand: up to 8 tokens cost
//     what one costs. cuda_v1 and edgellm_v1 go from global memory to registers by 16-byte loads.
//   - A nibble pair is masked out of its word and used as it is. For half the mask leaves a subnormal
//     u * 2^-24 or 16 u * 2^-24, which tensor cores multiply exactly; the two kinds have an
//     accumulator each. bfloat16 gets an exponent: 128 + u. Zero points are subtracted per group as
//     zero_point * (sum of the activations), a sum that an mma with ones gives in the same fragment.
//   - The warps of a block share its 16 * Tiles columns and split K; nothing but the last sum, in the
//     order of the warps, needs the others. Activations and scales come through a ring of each warp's
//     own.
//
// Legend: a step is 128 k, what a warp takes at a time (warp, warp + warps, ...); a tile is 16
// columns n. Group: the group size, or kPlainGroup: 128, no zero points, scales of the activations'
// type.
#pragma once

#include "cuda/int4_decode.cuh"
#include "cuda/int4_gemm_plan.h"
#include "cuda/swiglu_kernel.cuh"

namespace dovetail::cuda {

inline constexpr int kPlainGroup = 0;

struct Int4GemmFewRowsArguments {
  const void* activations;       // [M, K]
  const std::byte* weights;      // packed
  const std::byte* scales;       // [K/G, N]
  const std::byte* zero_points;  // [K/G, N] or null
  const void* bias;              // [N] or null
  void* output;                  // [M, N]
  int32_t m, n, k, group_size;
  int32_t steps, warps, steps_per_warp;
  int32_t slot_bytes;
  DataType scale_type;
  // With swiglu the second half of a block's tiles are up's, so many tiles further than they would
  // be without; else 0.
  int32_t up_tiles;
  uint32_t up_bytes;  // of weights
  bool swiglu;
};

template <class T, WeightLayout Layout, int Tiles, int TokenTiles, int Group>
class FewRowsWarp {
 public:
  static constexpr int kSlots = int4_gemm_few_rows_slots(TokenTiles);
  static constexpr bool kPlain = Group == kPlainGroup;
  static constexpr int kGroups = kPlain ? 1 : kFewRowsStep / Group;  // in a step
  static constexpr int kQuarters = 4 / kGroups;                      // of 32 k in a group
  static constexpr bool kFragments = Layout == WeightLayout::kCudaV1;

  // `step`: the warp's first; `ring`: its shared memory.
  DOVETAIL_DEVICE FewRowsWarp(const Int4GemmFewRowsArguments& p, std::byte* ring, int step)
      : p_(p), ring_(ring), lane_(static_cast<int>(ptx::lane_index())) {
    first_tile_ = static_cast<int>(ptx::block_index().x) * (p.swiglu ? Tiles / 2 : Tiles);
    const int64_t slabs = p.k / 64;
    weights_ = p.weights + first_tile_ * slabs * 512 + static_cast<int64_t>(step) * kStepBytes;
    if constexpr (kFragments) {
      weights_ += lane_ * 16;
    } else {
      weights_ +=
          lane_ / 16 * slabs * 128 + lane_ / 4 % 4 * 32 + lane_ % 4 / 2 * 128 + lane_ % 2 * 16;
    }
    // Activations: a lane copies chunk lane % 16 of rows lane / 16, + 2, + 4, ...
    const int row = lane_ / 16, chunk = lane_ % 16;
    activations_ = static_cast<const std::byte*>(p.activations) +
                   (static_cast<int64_t>(row) * p.k + step * kFewRowsStep + chunk * 8) * 2;
    activations_to_ = row * 256 + place(row, chunk) * 16;
    group_ = step * kGroups;
    scales_ = p.scales + (static_cast<int64_t>(group_) * p.n + first_tile_ * 16) * 2 + lane_ * 16 +
              up_columns(lane_, Tiles * 2) * 2;
    // Reading: fragments of 8 tokens by ldmatrix, in the order of chunks 0, 2, 1, 3, so that the
    // pairs of registers that a product takes are neighbours; edgellm_v1: 16-byte loads.
    const int last = p.m - 1;
    DOVETAIL_UNROLL
    for (int token = 0; token < TokenTiles; ++token) {
      const int wanted = token * 8 + (kFragments ? lane_ % 8 : lane_ / 4);
      const int from = wanted < last ? wanted : last;
      const int c = kFragments ? lane_ / 16 + lane_ / 8 % 2 * 2 : lane_ % 4 * 4;
      activations_at_[token] = from * 256 + place(from, c) * 16;
    }
  }

  // The next step's words of a tile.
  DOVETAIL_DEVICE void load_tile(ptx::Vec4 (&to)[2], int tile) const {
    const uint32_t tile_bytes = static_cast<uint32_t>(p_.k) * 8;
    DOVETAIL_UNROLL
    for (uint32_t part = 0; part < 2; ++part) {
      const uint32_t at = static_cast<uint32_t>(tile) * tile_bytes +
                          part * (kFragments ? 512 : tile_bytes / 2) +
                          (2 * tile >= Tiles && Tiles > 1 ? p_.up_bytes : 0);
      to[part] = ptx::load_stream_16(weights_ + at);
    }
  }
  DOVETAIL_DEVICE void advance_weights() {
    weights_ += static_cast<int64_t>(p_.warps) * kStepBytes;
  }

  DOVETAIL_DEVICE void copy_groups(int slot) {
    std::byte* to = ring_ + slot * p_.slot_bytes + p_.m * 256;
    if constexpr (kPlain) {
      if (lane_ < Tiles * 2) ptx::copy_async_16(to + lane_ * 16, scales_);
      scales_ += static_cast<int64_t>(p_.warps) * p_.n * 2;
    } else {
      copy_rows(to, p_.scales, 2);
      if (p_.zero_points != nullptr) {
        copy_rows(to + kGroups * Tiles * 32, p_.zero_points, 1);
      }
      group_ += p_.warps * kGroups;
    }
  }

  DOVETAIL_DEVICE void copy_activations(int slot) {
    std::byte* to = ring_ + slot * p_.slot_bytes;
    const std::byte* from = activations_;
    DOVETAIL_NO_UNROLL
    for (int row = lane_ / 16; row < p_.m; row += 2) {
      const int even_row = row & ~1;
      ptx::copy_async_cached<16>(to + even_row * 256 + (activations_to_ ^ even_row % 8 * 16), from);
      from += static_cast<int64_t>(p_.k) * 4;
    }
    activations_ += static_cast<int64_t>(p_.warps) * 256;
  }

  using Sums = float[Tiles][TokenTiles][4];
  // Refills w, tile by tile, while `more`.
  DOVETAIL_DEVICE void multiply(Sums& sums, ptx::Vec4 (&w)[Tiles][2], int slot_index, bool more) {
    const std::byte* slot = ring_ + slot_index * p_.slot_bytes;
    const std::byte* groups = slot + p_.m * 256;
    DOVETAIL_UNROLL
    for (int group = 0; group < kGroups; ++group) {
      multiply_group(sums, w, slot_index * p_.slot_bytes, groups, group, more);
    }
    advance_weights();
  }

 private:
  // How much further chunk `i` of a row of `chunks` lies, since it is up's.
  DOVETAIL_DEVICE int up_columns(int i, int chunks) const {
    return Tiles > 1 && 2 * i >= chunks ? p_.up_tiles * 16 : 0;
  }

  static constexpr int kStepBytes = kFragments ? 1024 : 256;

  static DOVETAIL_DEVICE int place(int row, int chunk) {
    return chunk ^ (row & 7) ^ (chunk >> 3) * 2;
  }

  DOVETAIL_DEVICE void copy_rows(std::byte* to, const std::byte* from, int bytes) const {
    const int chunks = Tiles * bytes;  // a group's row
    DOVETAIL_NO_UNROLL
    for (int c = lane_; c < kGroups * chunks; c += 32) {
      ptx::copy_async_16(to + c * 16, from +
                                          (static_cast<int64_t>(group_ + c / chunks) * p_.n +
                                           first_tile_ * 16 + up_columns(c % chunks, chunks)) *
                                              bytes +
                                          c % chunks * 16);
    }
  }

  // [token tile][32 k][pairs 0 and 2, then 1 and 3] of a group, from 32-k quarter `first` on.
  // edgellm_v1: of 32 k of each lane; groups of 128 only.
  using Activations = uint32_t[TokenTiles][kQuarters][4];

  DOVETAIL_DEVICE void load_activations(uint32_t (&x)[kQuarters][4], int at, int first) const {
    if constexpr (kFragments) {
      DOVETAIL_UNROLL
      for (int i = 0; i < kQuarters; ++i) {
        const int chunk_bits = (first + i) % 2 * 64 + (first + i) / 2 * 160;
        ptx::load_matrix<4>(x[i], ring_ + (at ^ chunk_bits));
      }
    } else {
      ptx::Vec4 v[4];
      DOVETAIL_UNROLL
      for (int i = 0; i < 4; ++i) v[i] = *reinterpret_cast<const ptx::Vec4*>(ring_ + (at ^ i * 16));
      DOVETAIL_UNROLL
      for (int i = 0; i < 4; ++i) {
        const int from = i / 2 + i % 2 * 2;
        x[0][i] = v[from].x, x[1][i] = v[from].y, x[2][i] = v[from].z, x[3][i] = v[from].w;
      }
    }
  }

  static DOVETAIL_DEVICE void add_total(float (&total)[TokenTiles][4], const Activations& x) {
    constexpr uint32_t kOnes = Int4Digits<T>::kOnes;
    DOVETAIL_UNROLL
    for (int token = 0; token < TokenTiles; ++token) {
      DOVETAIL_UNROLL
      for (int i = 0; i < kQuarters; ++i) {
        ptx::mma_m16n8k16<T>(total[token], {kOnes, kOnes, kOnes, kOnes},
                             {x[token][i][0], x[token][i][1]});
        ptx::mma_m16n8k16<T>(total[token], {kOnes, kOnes, kOnes, kOnes},
                             {x[token][i][2], x[token][i][3]});
      }
    }
  }

  DOVETAIL_DEVICE void multiply_group(Sums& sums, ptx::Vec4 (&w)[Tiles][2], int slot_at,
                                      const std::byte* groups, int group, bool more) const {
    const std::byte* zero_points = groups + kGroups * Tiles * 32 + lane_ / 4;
    // The ends of these loops end the compiler's look-ahead: without the barriers it decodes weights so
    // early that registers spill.
    if (group > 0) ptx::sync_warp();
    Activations x;
    DOVETAIL_UNROLL
    for (int token = 0; token < TokenTiles; ++token) {
      load_activations(x[token], slot_at + activations_at_[token], group * kQuarters);
    }
    float total[TokenTiles][4] = {};
    DOVETAIL_UNROLL
    for (int tile = 0; tile < Tiles; ++tile) {
      if (tile > 0 || !kFragments) ptx::sync_warp();
      const int at = group * Tiles + tile;
      float even[TokenTiles][4] = {}, odd[TokenTiles][4] = {};
      multiply_words(even, odd, w[tile], x, group * kQuarters);
      if (more && group == kGroups - 1) load_tile(w[tile], tile);
      // Behind the first products: a chain of products ahead of them would be waited for.
      if (tile == 0) add_total(total, x);
      int z0 = 8, z1 = 8;
      if (!kPlain && p_.zero_points != nullptr) {
        z0 = static_cast<int>(zero_points[at * 16]),
        z1 = static_cast<int>(zero_points[at * 16 + 8]);
      }
      close_group(sums[tile], even, odd, total, {subtrahend(z0), subtrahend(z1)},
                  {load_scale(groups, at), load_scale(groups + 16, at)});
    }
  }
  static DOVETAIL_DEVICE float subtrahend(int zero_point) {
    return -(static_cast<float>(zero_point) + Int4Digits<T>::kBias) * Int4Digits<T>::kUnit;
  }

  DOVETAIL_DEVICE float load_scale(const std::byte* groups, int tile) const {
    const uint16_t bits = *reinterpret_cast<const uint16_t*>(groups + tile * 32 + lane_ / 4 * 2);
    const bool is_half = kPlain ? ptx::kIsHalf<T> : p_.scale_type == DataType::kFloat16;
    return is_half ? ptx::to_float(ptx::Half{bits}) : ptx::to_float(ptx::BFloat16{bits});
  }

  // The products of a group. cuda_v1: words of rows g and g + 8 and of 32 k; edgellm_v1: word i of each
  // lane's 32 k.
  static DOVETAIL_DEVICE void multiply_words(float (&even)[TokenTiles][4],
                                             float (&odd)[TokenTiles][4], const ptx::Vec4 (&w)[2],
                                             const Activations& x, int first) {
    const ptx::Vec4 &v = w[0], &u = w[1];
    const uint32_t low[4] = {v.x, v.y, kFragments ? u.x : v.z, kFragments ? u.y : v.w};
    const uint32_t high[4] = {kFragments ? v.z : u.x, kFragments ? v.w : u.y, u.z, u.w};
    DOVETAIL_UNROLL
    for (int i = 0; i < kQuarters; ++i) {
      if (i == 2 && TokenTiles == 2) ptx::sync_warp();
      uint32_t a[4], b[4];
      split_word<T>(low[first + i], a);
      split_word<T>(high[first + i], b);
      DOVETAIL_UNROLL
      for (int token = 0; token < TokenTiles; ++token) {
        ptx::mma_m16n8k16<T>(even[token], {a[0], b[0], a[2], b[2]},
                             {x[token][i][0], x[token][i][1]});
        ptx::mma_m16n8k16<T>(odd[token], {a[1], b[1], a[3], b[3]},
                             {x[token][i][2], x[token][i][3]});
      }
    }
  }

  // sums += scale * (W X - zero_point * total), in units of Int4Digits.
  static DOVETAIL_DEVICE void close_group(float (&sums)[TokenTiles][4],
                                          const float (&even)[TokenTiles][4],
                                          const float (&odd)[TokenTiles][4],
                                          const float (&total)[TokenTiles][4], ptx::Float2 z,
                                          ptx::Float2 scale) {
    DOVETAIL_UNROLL
    for (int token = 0; token < TokenTiles; ++token) {
      DOVETAIL_UNROLL
      for (int i = 0; i < 4; ++i) {
        const float sum = even[token][i] + odd[token][i] * Int4Digits<T>::kOdd +
                          total[token][i % 2] * (i < 2 ? z.x : z.y);
        sums[token][i] += sum * (i < 2 ? scale.x : scale.y);
      }
    }
  }

  const Int4GemmFewRowsArguments& p_;
  std::byte* ring_;
  const std::byte *weights_, *scales_, *activations_;
  int lane_, first_tile_, group_;
  int activations_to_, activations_at_[TokenTiles];
};

// grid: (tiles / Tiles), block: 32 * warps
template <class T, WeightLayout Layout, int Tile, int Group>
DOVETAIL_KERNEL(kInt4GemmFewRowsTiles[Tile].most_warps * 32, 1)
int4_gemm_few_rows_kernel(const DOVETAIL_GRID_CONSTANT Int4GemmFewRowsArguments p) {
  constexpr int Tiles = kInt4GemmFewRowsTiles[Tile].tiles,
                Depth = kInt4GemmFewRowsTiles[Tile].depth;
  constexpr int TokenTiles = kInt4GemmFewRowsTiles[Tile].token_tiles;
  using Warp = FewRowsWarp<T, Layout, Tiles, TokenTiles, Group>;
  std::byte* shared = ptx::shared_memory<std::byte>();
  const int warp = static_cast<int>(ptx::warp_index()), lane = static_cast<int>(ptx::lane_index());
  Warp self(p, shared + warp * Warp::kSlots * p.slot_bytes, warp);
  const int steps = p.steps_per_warp - (warp + (p.steps_per_warp - 1) * p.warps < p.steps ? 0 : 1);

  // Weights, scales and zero points are constants: they may be read while the previous kernel runs.
  ptx::let_next_kernel_start();
  ptx::Vec4 ahead[Depth][Tiles][2];
  DOVETAIL_UNROLL
  for (int i = 0; i < Depth; ++i) {
    if (i < steps) {
      DOVETAIL_UNROLL
      for (int tile = 0; tile < Tiles; ++tile) self.load_tile(ahead[i][tile], tile);
    }
    self.advance_weights();
  }
  constexpr int kAhead = Warp::kSlots - 1;
  DOVETAIL_NO_UNROLL
  for (int i = 0; i < kAhead && i < steps; ++i) self.copy_groups(i);
  ptx::wait_for_previous_kernel();
  DOVETAIL_NO_UNROLL
  for (int i = 0; i < kAhead; ++i) {
    if (i < steps) self.copy_activations(i);
    ptx::copy_async_commit();
  }

  float sums[Tiles][TokenTiles][4] = {};
  int slot = 0;
  DOVETAIL_NO_UNROLL
  for (int first = 0; first < steps; first += Depth) {
    DOVETAIL_UNROLL
    for (int i = 0; i < Depth; ++i) {
      const int step = first + i;
      if (step < steps) {
        ptx::copy_async_wait<kAhead - 1>();
        ptx::sync_warp();
        if (step + kAhead < steps) {
          const int free = slot == 0 ? kAhead : slot - 1;
          self.copy_groups(free);
          self.copy_activations(free);
        }
        ptx::copy_async_commit();
        self.multiply(sums, ahead[i], slot, step + Depth < steps);
        slot = slot == kAhead ? 0 : slot + 1;
      }
    }
  }
  ptx::copy_async_wait<0>();

  // Sums of all warps, [warp][tile][token tile][fragment][lane], added in the order of the warps.
  constexpr int kValues = Tiles * TokenTiles * 4;
  float* others = reinterpret_cast<float*>(shared);
  ptx::sync_threads();
  DOVETAIL_UNROLL
  for (int i = 0; i < kValues; ++i) {
    others[(warp * kValues + i) * 32 + lane] =
        sums[i / (TokenTiles * 4)][i / 4 % TokenTiles][i % 4];
  }
  ptx::sync_threads();
  const auto sum_of = [&](int m, int column, int n) {
    const int fragment = column / 8 % 2 * 2 + m % 2;
    const float* at = others + ((column / 16 * TokenTiles + m / 8) * 4 + fragment) * 32 +
                      column % 8 * 4 + m % 8 / 2;
    float sum = 0;
    DOVETAIL_NO_UNROLL
    for (int w = 0; w < p.warps; w += 8) {
      float part[8];
      DOVETAIL_UNROLL
      for (int j = 0; j < 8; ++j) part[j] = w + j < p.warps ? at[(w + j) * kValues * 32] : 0.0f;
      DOVETAIL_UNROLL
      for (int j = 0; j < 8; ++j) sum += part[j];
    }
    sum *= 1 / Int4Digits<T>::kUnit;
    if (p.bias != nullptr) sum += ptx::to_float(static_cast<const T*>(p.bias)[n]);
    return sum;
  };
  const int columns = p.swiglu ? Tiles * 8 : Tiles * 16, width = p.swiglu ? p.n / 2 : p.n;
  DOVETAIL_NO_UNROLL
  for (int i = static_cast<int>(ptx::thread_index().x); i < p.m * columns; i += p.warps * 32) {
    const int m = p.swiglu ? i / (Tiles * 8) : i / (Tiles * 16), column = i - m * columns;
    const int n = static_cast<int>(ptx::block_index().x) * columns + column;
    if (n >= width) continue;
    float sum = sum_of(m, column, n);
    if (p.swiglu) sum = gated(sum, sum_of(m, column + Tiles * 8, n + width));
    static_cast<T*>(p.output)[static_cast<int64_t>(m) * width + n] = ptx::round_to<T>(sum);
  }
}

}  // namespace dovetail::cuda
