// SPDX-License-Identifier: Apache-2.0
// Global to shared memory, one pipeline stage: `warps_k` slabs of 64 k of activations, weights,
// scales and zero points (offsets: Int4GemmStage). Everything outside M, N and K becomes zero here,
// so the arithmetic needs no bounds.
//
// Activations: rows of 64 elements; the 16-byte chunk c of row r lies at c ^ swizzle(r), so that
// the eight rows an ldmatrix reads at one k lie in different banks. Weights: cuda_v1 as it is in
// memory. edgellm_v1: row n has two chunks, h = 0, 1 (32 k each); chunk h lies at h ^ (n / 4 % 2),
// which lets eight rows' words of one h be read without bank conflicts.
#pragma once

#include "cuda/int4_gemm_plan.h"
#include "cuda/ptx.cuh"

namespace dovetail::cuda {

struct Int4GemmArguments {
  const void* activations;       // [M, K]
  const std::byte* weights;      // packed
  const std::byte* scales;       // [K/G, N]
  const std::byte* zero_points;  // [K/G, N] or null
  const void* bias;              // [N] or null
  void* output;                  // [M, N]
  float* partials;               // [splits, M, N] when splits > 1
  int64_t m;
  int32_t n, k, group_size;
  int32_t slabs, slabs_per_split, splits;
  DataType scale_type;
};

template <class T>
inline constexpr int kChunkElements = 16 / static_cast<int>(sizeof(T));
template <class T>
inline constexpr int kRowChunks = kSlab / kChunkElements<T>;

// Where chunk c of a row lies; 16 rows of 4-byte elements conflict in pairs of chunks.
template <class T>
DOVETAIL_DEVICE int swizzled_chunk(int row, int chunk) {
  return chunk ^ (sizeof(T) == 2 ? row & 7 : (row & 7) << 1);
}

template <class T, WeightLayout Layout, int Tile>
struct StageLoader {
  static constexpr Int4GemmTile kTile = kInt4GemmTiles[Tile];
  static constexpr Int4GemmStage kStage = int4_gemm_stage(kTile, sizeof(T));

  const Int4GemmArguments& p;
  int64_t first_row;
  int first_column;
  int end_slab;

  DOVETAIL_DEVICE void load(std::byte* stage, int slab) const {
    load_weights(stage + kStage.weights, slab);
    const int scale_bytes = p.scale_type == DataType::kFloat32 ? 4 : 2;
    load_groups(stage + kStage.scales, 4 * kTile.columns(), p.scales, scale_bytes, slab);
    if (p.zero_points != nullptr) {
      load_groups(stage + kStage.zero_points, kTile.columns(), p.zero_points, 1, slab);
    }
    load_activations(stage, slab);
  }

 private:
  DOVETAIL_DEVICE void load_activations(std::byte* to, int slab) const {
    constexpr int kChunks = kTile.warps_k * kTile.rows() * kRowChunks<T>;
    const T* from = static_cast<const T*>(p.activations);
    DOVETAIL_UNROLL
    for (int i = 0; i < kChunks; i += kTile.threads()) {
      const int index = i + static_cast<int>(ptx::thread_index().x);
      if (kChunks % kTile.threads() != 0 && index >= kChunks) break;
      const int chunk = index % kRowChunks<T>, line = index / kRowChunks<T>;
      const int row = line % kTile.rows();
      const int64_t m = first_row + row;
      const int k = (slab + line / kTile.rows()) * kSlab + chunk * kChunkElements<T>;
      const bool valid = m < p.m && k < p.k;
      ptx::copy_async_16(to + (line * kRowChunks<T> + swizzled_chunk<T>(row, chunk)) * 16,
                         valid ? from + m * p.k + k : from, valid ? 16 : 0);
    }
  }

  DOVETAIL_DEVICE void load_weights(std::byte* to, int slab) const {
    constexpr int kChunks = kTile.warps_k * kTile.columns() * 2;
    DOVETAIL_UNROLL
    for (int i = 0; i < kChunks; i += kTile.threads()) {
      const int index = i + static_cast<int>(ptx::thread_index().x);
      if (kChunks % kTile.threads() != 0 && index >= kChunks) break;
      const int chunk = index % (kTile.columns() * 2);
      const int k_slab = slab + index / (kTile.columns() * 2);
      int64_t from = 0;  // in chunks
      int to_chunk = chunk;
      bool valid = k_slab < end_slab;
      if constexpr (Layout == WeightLayout::kCudaV1) {
        const int block_n = first_column / 16 + chunk / 32;
        valid = valid && block_n < (p.n + 63) / 64 * 4;
        from = (static_cast<int64_t>(block_n) * p.slabs + k_slab) * 32 + chunk % 32;
      } else {
        const int row = chunk / 2, half = chunk % 2, n = first_column + row;
        valid = valid && n < (p.n + 3) / 4 * 4;
        from = ((static_cast<int64_t>(n / 4) * p.slabs + k_slab) * 4 + n % 4) * 2 + half;
        to_chunk = row * 2 + (half ^ (row >> 2 & 1));
      }
      ptx::copy_async_16(to + (index - chunk + to_chunk) * 16,
                         valid ? p.weights + from * 16 : p.weights, valid ? 16 : 0);
    }
  }

  // Rows [columns] of the groups that the slabs meet: two a slab for groups of 32, else one. A row
  // that is not 16-byte aligned in memory (odd N) goes through registers.
  DOVETAIL_DEVICE void load_groups(std::byte* to, int row_bytes, const std::byte* from, int bytes,
                                   int slab) const {
    const int groups = p.group_size == 32 ? 2 : 1;
    const int64_t pitch = static_cast<int64_t>(p.n) * bytes;
    const bool aligned = pitch % 16 == 0;
    const int unit = aligned ? 16 : bytes;
    const int units = kTile.columns() * bytes / unit;
    for (int index = ptx::thread_index().x; index < kTile.warps_k * groups * units;
         index += kTile.threads()) {
      const int column = index % units * unit, line = index / units;
      const int k_slab = slab + line / groups;
      const int64_t group = static_cast<int64_t>(k_slab) * kSlab / p.group_size + line % groups;
      const int64_t left = k_slab < end_slab && group < p.k / p.group_size
                               ? pitch - static_cast<int64_t>(first_column) * bytes - column
                               : 0;
      const int valid = left >= unit ? unit : left > 0 ? static_cast<int>(left) : 0;
      std::byte* target = to + (line / groups * 2 + line % groups) * row_bytes + column;
      const std::byte* source =
          valid > 0 ? from + group * pitch + static_cast<int64_t>(first_column) * bytes + column
                    : from;
      if (aligned) {
        ptx::copy_async_16(target, source, static_cast<uint32_t>(valid));
      } else if (bytes == 4) {
        *reinterpret_cast<uint32_t*>(target) =
            valid > 0 ? *reinterpret_cast<const uint32_t*>(source) : 0u;
      } else if (bytes == 2) {
        *reinterpret_cast<uint16_t*>(target) =
            valid > 0 ? *reinterpret_cast<const uint16_t*>(source) : uint16_t{0};
      } else {
        *target = valid > 0 ? *source : std::byte{0};
      }
    }
  }
};

}  // namespace dovetail::cuda
