// SPDX-License-Identifier: Apache-2.0
// out[M, N] = activations[M, K] x dequantize(weights)[N, K]^T (+ bias) on tensor cores, any M.
//
// A block walks its slabs of K through a ring of `stages` shared-memory stages filled by cp.async.
// A warp takes 32 k at a time: activation fragments (ldmatrix), per 8-column tile one word of
// weights decoded to exact integers, two mma into a fresh sum, and sum * scale added to the fp32
// result. So zero points and scales cost nothing per weight, groups of 32, 64 and 128 are one code
// path, and no weight is rounded.
//
// fp32 activations are cut into three bfloat16 of 8 bits each (exact), three mma in place of one.
#pragma once

#include <cstddef>

#include "cuda/int4_decode.cuh"
#include "cuda/int4_gemm_stage.cuh"

namespace dovetail::cuda {

// Type of the tensor-core operands, and how many of them make an activation.
template <class T>
using Operand = std::conditional_t<std::is_same_v<T, float>, ptx::BFloat16, T>;
template <class T>
inline constexpr int kPlanes = std::is_same_v<T, float> ? 3 : 1;

// A fragments of 16 rows by 16 k: lane (g, t) as in ptx/matrix.cuh.
template <class T>
DOVETAIL_DEVICE void load_activation_fragment(uint32_t (&a)[kPlanes<T>][4], const std::byte* slab,
                                              int row, int k) {
  const int lane = static_cast<int>(ptx::lane_index());
  if constexpr (!std::is_same_v<T, float>) {
    const int r = row + lane % 16, chunk = k / 8 + lane / 16;
    ptx::load_matrix<4>(a[0], slab + (r * kRowChunks<T> + swizzled_chunk<T>(r, chunk)) * 16);
  } else {
    DOVETAIL_UNROLL
    for (int i = 0; i < 4; ++i) {
      const int r = row + lane / 4 + i % 2 * 8, column = k + i / 2 * 8 + lane % 4 * 2;
      const int chunk = r * kRowChunks<T> + swizzled_chunk<T>(r, column / 4);
      ptx::Float2 v = *reinterpret_cast<const ptx::Float2*>(slab + chunk * 16 + column % 4 * 4);
      DOVETAIL_UNROLL
      for (int plane = 0; plane < 3; ++plane) {
        const uint32_t x = std::bit_cast<uint32_t>(v.x), y = std::bit_cast<uint32_t>(v.y);
        a[plane][i] = ptx::permute_bytes(x, y, 0x7632);  // the upper halves
        v = {v.x - std::bit_cast<float>(x & 0xffff0000u),
             v.y - std::bit_cast<float>(y & 0xffff0000u)};
      }
    }
  }
}

// Scales of a lane's two columns and zero point of its weight row, for four 8-column tiles.
struct LaneGroups {
  ptx::Float2 scale[4];
  uint32_t zero_point[4];
};

template <int Columns>
DOVETAIL_DEVICE void load_groups(LaneGroups& groups, const std::byte* scales,
                                 const std::byte* zero_points, int group, int column,
                                 const Int4GemmArguments& p) {
  const int lane = static_cast<int>(ptx::lane_index());
  const std::byte* row = scales + group * Columns * 4;
  const int n = column + lane % 4 * 2;
  if (p.scale_type == DataType::kFloat32) {
    DOVETAIL_UNROLL
    for (int i = 0; i < 4; ++i) {
      groups.scale[i] = *reinterpret_cast<const ptx::Float2*>(row + (n + i * 8) * 4);
    }
  } else {
    uint32_t pairs[4];
    DOVETAIL_UNROLL
    for (int i = 0; i < 4; ++i) {
      pairs[i] = *reinterpret_cast<const uint32_t*>(row + (n + i * 8) * 2);
    }
    const bool is_half = p.scale_type == DataType::kFloat16;
    DOVETAIL_UNROLL
    for (int i = 0; i < 4; ++i) {
      groups.scale[i] =
          is_half ? ptx::unpack2<ptx::Half>(pairs[i]) : ptx::unpack2<ptx::BFloat16>(pairs[i]);
    }
  }
  DOVETAIL_UNROLL
  for (int i = 0; i < 4; ++i) {
    groups.zero_point[i] = 8;
    if (p.zero_points != nullptr) {
      groups.zero_point[i] =
          static_cast<uint32_t>(zero_points[group * Columns + column + i * 8 + lane / 4]);
    }
  }
}

// One warp's sums: [row tile][8-column tile][fragment].
template <int Tile>
using WarpSums = float[kInt4GemmTiles[Tile].row_tiles][4][4];

// Adds one slab: rows from `row`, 32 columns from `column` of the block.
template <class T, WeightLayout Layout, int Tile>
DOVETAIL_DEVICE void multiply_slab(WarpSums<Tile>& sums, const std::byte* stage, int k_warp,
                                   int row, int column, const Int4GemmArguments& p) {
  constexpr Int4GemmTile kTile = kInt4GemmTiles[Tile];
  constexpr Int4GemmStage kStage = int4_gemm_stage(kTile, sizeof(T));
  const int lane = static_cast<int>(ptx::lane_index());
  const std::byte* activations =
      stage + k_warp * kTile.rows() * kSlab * static_cast<int>(sizeof(T));
  const std::byte* weights = stage + kStage.weights + k_warp * kTile.columns() * 32;
  const std::byte* scales = stage + kStage.scales + k_warp * 2 * kTile.columns() * 4;
  const std::byte* zero_points = stage + kStage.zero_points + k_warp * 2 * kTile.columns();

  LaneGroups groups;
  uint32_t words[2][4];  // [32-k half][8-column tile]
  DOVETAIL_UNROLL
  for (int unit = 0; unit < 2; ++unit) {
    if constexpr (Layout == WeightLayout::kCudaV1) {
      const std::byte* at = weights + (column / 16 + unit) * 512 + lane * 16;
      const ptx::Vec4 v = *reinterpret_cast<const ptx::Vec4*>(at);
      words[0][2 * unit] = v.x, words[1][2 * unit] = v.y;
      words[0][2 * unit + 1] = v.z, words[1][2 * unit + 1] = v.w;
    } else {
      DOVETAIL_UNROLL
      for (int i = 0; i < 4; ++i) {
        const int half = i % 2, n = column + unit * 16 + i / 2 * 8 + lane / 4;
        const std::byte* at = weights + n * 32 + (half ^ (n >> 2 & 1)) * 16 + lane % 4 * 4;
        words[half][2 * unit + i / 2] = *reinterpret_cast<const uint32_t*>(at);
      }
    }
  }
  DOVETAIL_UNROLL
  for (int half = 0; half < 2; ++half) {
    uint32_t a[2][kTile.row_tiles][kPlanes<T>][4];
    DOVETAIL_UNROLL
    for (int step = 0; step < 2; ++step) {
      DOVETAIL_UNROLL
      for (int tile = 0; tile < kTile.row_tiles; ++tile) {
        load_activation_fragment<T>(a[step][tile], activations, row + tile * 16,
                                    half * 32 + step * 16);
      }
    }
    if (half == 0 || p.group_size == 32) {
      load_groups<kTile.columns()>(groups, scales, zero_points, half, column, p);
    }
    DOVETAIL_UNROLL
    for (int n_tile = 0; n_tile < 4; ++n_tile) {
      uint32_t pair[4];
      decode_int4<Operand<T>>(words[half][n_tile], groups.zero_point[n_tile], pair);
      const uint32_t b[2][2] = {{pair[0], pair[1]}, {pair[2], pair[3]}};
      const ptx::Float2 scale = groups.scale[n_tile];
      DOVETAIL_UNROLL
      for (int tile = 0; tile < kTile.row_tiles; ++tile) {
        float sum[4];
        // The smallest plane first.
        ptx::mma_m16n8k16_from_zero<Operand<T>>(sum, a[0][tile][kPlanes<T> - 1], b[0]);
        ptx::mma_m16n8k16<Operand<T>>(sum, a[1][tile][kPlanes<T> - 1], b[1]);
        DOVETAIL_UNROLL
        for (int plane = kPlanes<T> - 2; plane >= 0; --plane) {
          ptx::mma_m16n8k16<Operand<T>>(sum, a[0][tile][plane], b[0]);
          ptx::mma_m16n8k16<Operand<T>>(sum, a[1][tile][plane], b[1]);
        }
        DOVETAIL_UNROLL
        for (int i = 0; i < 4; ++i) sums[tile][n_tile][i] += sum[i] * (i % 2 ? scale.y : scale.x);
      }
    }
  }
}

// Two neighbouring outputs of a row; with_bias is false for partial sums.
template <class T>
DOVETAIL_DEVICE void store_pair(T* row, int n, int total_n, float x, float y, const T* bias) {
  const bool both = n + 1 < total_n;
  if (bias != nullptr) {
    x += ptx::to_float(bias[n]);
    if (both) y += ptx::to_float(bias[n + 1]);
  }
  if constexpr (std::is_same_v<T, float>) {
    if (both && total_n % 2 == 0) {
      *reinterpret_cast<ptx::Float2*>(row + n) = {x, y};
      return;
    }
    row[n] = x;
    if (both) row[n + 1] = y;
  } else {
    const uint32_t pair = ptx::pack2<T>(x, y);
    if (both && total_n % 2 == 0) {
      *reinterpret_cast<uint32_t*>(row + n) = pair;
      return;
    }
    row[n] = T{static_cast<uint16_t>(pair)};
    if (both) row[n + 1] = T{static_cast<uint16_t>(pair >> 16)};
  }
}

// grid: (blocks_m, blocks_n, splits)
template <class T, WeightLayout Layout, int Tile>
DOVETAIL_KERNEL(kInt4GemmTiles[Tile].threads(), int4_gemm_blocks(kInt4GemmTiles[Tile], sizeof(T)))
int4_gemm_kernel(const DOVETAIL_GRID_CONSTANT Int4GemmArguments p) {
  constexpr Int4GemmTile kTile = kInt4GemmTiles[Tile];
  constexpr int kStageBytes = int4_gemm_stage(kTile, sizeof(T)).bytes;
  constexpr int kWarpRows = 16 * kTile.row_tiles;
  static_assert(int4_gemm_shared_bytes(kTile, sizeof(T)) <= 99 * 1024,
                "sm_86, sm_89, sm_120 have 99 KB");
  std::byte* ring = ptx::shared_memory<std::byte>();

  const int warp = static_cast<int>(ptx::warp_index());
  const int warp_m = warp % kTile.warps_m, warp_n = warp / kTile.warps_m % kTile.warps_n;
  const int warp_k = warp / (kTile.warps_m * kTile.warps_n);
  const int64_t first_row = static_cast<int64_t>(ptx::block_index().x) * kTile.rows();
  const int first_column = static_cast<int>(ptx::block_index().y) * kTile.columns();
  const int split = static_cast<int>(ptx::block_index().z);
  const int begin = split * p.slabs_per_split;
  const int end = begin + p.slabs_per_split < p.slabs ? begin + p.slabs_per_split : p.slabs;
  const int steps = (end - begin + kTile.warps_k - 1) / kTile.warps_k;
  const StageLoader<T, Layout, Tile> loader(p, first_row, first_column, end);

  DOVETAIL_NO_UNROLL
  for (int step = 0; step < kTile.stages - 1; ++step) {
    if (step < steps) loader.load(ring + step * kStageBytes, begin + step * kTile.warps_k);
    ptx::copy_async_commit();
  }
  WarpSums<Tile> sums = {};
  int slot = 0;  // step % stages
  DOVETAIL_NO_UNROLL
  for (int step = 0; step < steps; ++step) {
    ptx::copy_async_wait<kTile.stages - 2>();
    ptx::sync_threads();  // the stage has landed for all, and all have left the one to be refilled
    const int ahead = step + kTile.stages - 1;
    if (ahead < steps) {
      loader.load(ring + (slot == 0 ? kTile.stages - 1 : slot - 1) * kStageBytes,
                  begin + ahead * kTile.warps_k);
    }
    ptx::copy_async_commit();
    if (begin + step * kTile.warps_k + warp_k < end) {
      multiply_slab<T, Layout, Tile>(sums, ring + slot * kStageBytes, warp_k, warp_m * kWarpRows,
                                     warp_n * kWarpColumns, p);
    }
    slot = slot + 1 == kTile.stages ? 0 : slot + 1;
  }
  ptx::copy_async_wait<0>();

  const int lane = static_cast<int>(ptx::lane_index()), g = lane / 4, t = lane % 4;
  if constexpr (kTile.warps_k > 1) {
    // Sums of the other k-warps, [warp][fragment][lane]; the first set adds them in the order of k.
    constexpr int kWarpsMn = kTile.warps_m * kTile.warps_n, kFragments = kTile.row_tiles * 16;
    float* others = reinterpret_cast<float*>(ring);
    ptx::sync_threads();
    DOVETAIL_UNROLL
    for (int i = 0; i < kFragments; ++i) {
      if (warp_k > 0) {
        others[((warp - kWarpsMn) * kFragments + i) * 32 + lane] = sums[i / 16][i / 4 % 4][i % 4];
      }
    }
    ptx::sync_threads();
    if (warp_k > 0) return;
    for (int other = 0; other < kTile.warps_k - 1; ++other) {
      DOVETAIL_UNROLL
      for (int i = 0; i < kFragments; ++i) {
        sums[i / 16][i / 4 % 4][i % 4] +=
            others[((other * kWarpsMn + warp) * kFragments + i) * 32 + lane];
      }
    }
  }
  if (p.splits > 1) ptx::let_next_kernel_start();
  DOVETAIL_UNROLL
  for (int i = 0; i < kTile.row_tiles * 2; ++i) {
    const int64_t m = first_row + warp_m * kWarpRows + i * 8 + g;
    if (m >= p.m) break;
    DOVETAIL_UNROLL
    for (int n_tile = 0; n_tile < 4; ++n_tile) {
      const int n = first_column + warp_n * kWarpColumns + n_tile * 8 + 2 * t;
      if (n >= p.n) break;
      const float x = sums[i / 2][n_tile][i % 2 * 2], y = sums[i / 2][n_tile][i % 2 * 2 + 1];
      if (p.splits > 1) {
        store_pair<float>(p.partials + (split * p.m + m) * p.n, n, p.n, x, y, nullptr);
      } else {
        store_pair<T>(static_cast<T*>(p.output) + m * p.n, n, p.n, x, y,
                      static_cast<const T*>(p.bias));
      }
    }
  }
}

inline constexpr int kReduceThreads = 128;
// Outputs of a thread: 4 neighbours where no row's end divides them.
constexpr int int4_gemm_reduce_width(int64_t n) {
  return n % 4 == 0 ? 4 : 1;
}

template <class T, int Width>
DOVETAIL_DEVICE void reduce_outputs(const Int4GemmArguments& p, int64_t i) {
  const int64_t count = p.m * p.n;
  // Eight loads in flight at a time; the additions keep their order.
  constexpr int kBatch = 8;
  float sum[Width] = {};
  for (int first = 0; first < p.splits; first += kBatch) {
    float part[kBatch][Width] = {};
    DOVETAIL_UNROLL
    for (int j = 0; j < kBatch; ++j) {
      if (first + j >= p.splits) break;
      const float* from = p.partials + (first + j) * count + i;
      if constexpr (Width == 4) {
        const ptx::Float4 v = *reinterpret_cast<const ptx::Float4*>(from);
        part[j][0] = v.x, part[j][1] = v.y, part[j][2] = v.z, part[j][3] = v.w;
      } else {
        part[j][0] = *from;
      }
    }
    DOVETAIL_UNROLL
    for (int j = 0; j < kBatch; ++j) {
      DOVETAIL_UNROLL
      for (int e = 0; e < Width; ++e) sum[e] += part[j][e];
    }
  }
  if (p.bias != nullptr) {
    DOVETAIL_UNROLL
    for (int e = 0; e < Width; ++e)
      sum[e] += ptx::to_float(static_cast<const T*>(p.bias)[i % p.n + e]);
  }
  T* out = static_cast<T*>(p.output) + i;
  if constexpr (std::is_same_v<T, float>) {
    DOVETAIL_UNROLL
    for (int e = 0; e < Width; ++e) out[e] = sum[e];
  } else if constexpr (Width == 1) {
    *out = ptx::round_to<T>(sum[0]);
  } else {
    *reinterpret_cast<ptx::Vec2*>(out) = {ptx::pack2<T>(sum[0], sum[1]),
                                          ptx::pack2<T>(sum[2], sum[3])};
  }
}

// output = sum over splits, in the order of k, + bias.
template <class T>
DOVETAIL_KERNEL(kReduceThreads)
int4_gemm_reduce(const DOVETAIL_GRID_CONSTANT Int4GemmArguments p) {
  const int width = int4_gemm_reduce_width(p.n);
  const int64_t i =
      (static_cast<int64_t>(ptx::block_index().x) * kReduceThreads + ptx::thread_index().x) * width;
  ptx::let_next_kernel_start();
  ptx::wait_for_previous_kernel();
  if (i >= p.m * p.n) return;
  if (width == 4) {
    reduce_outputs<T, 4>(p, i);
  } else {
    reduce_outputs<T, 1>(p, i);
  }
}

}  // namespace dovetail::cuda
