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
  int32_t blocks_m, blocks_n;
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

// A thread's share of every stage is the same but for the slab, so its addresses are computed once.
template <class T, WeightLayout Layout, int Tile>
class StageLoader {
 public:
  DOVETAIL_DEVICE StageLoader(const Int4GemmArguments& p, int64_t first_row, int first_column,
                              int end_slab)
      : p_(p), first_column_(first_column), end_slab_(end_slab) {
    const int thread = static_cast<int>(ptx::thread_index().x);
    // Activations: a thread copies one chunk column of rows `row`, `row` + kRowStep, ...
    const int row = thread / kRowChunks<T>, chunk = thread % kRowChunks<T>;
    chunk_k_ = chunk * kChunkElements<T>;
    rows_left_ =
        static_cast<int>(p.m - first_row < kTile.rows() ? p.m - first_row : kTile.rows()) - row;
    activations_ = static_cast<const T*>(p.activations) + (first_row + row) * p.k + chunk_k_;
    activations_to_ = (row * kRowChunks<T> + swizzled_chunk<T>(row, chunk)) * 16;
    // Weights: one chunk a slab.
    int64_t chunk_index = 0;  // at slab 0
    int to_chunk = thread;
    if constexpr (Layout == WeightLayout::kCudaV1) {
      const int block_n = first_column / 16 + thread / 32;
      weights_valid_ = block_n < (p.n + 63) / 64 * 4;
      chunk_index = static_cast<int64_t>(block_n) * p.slabs * 32 + thread % 32;
    } else {
      const int weight_row = thread / 2, half = thread % 2, n = first_column + weight_row;
      weights_valid_ = n < (p.n + 3) / 4 * 4;
      chunk_index = (static_cast<int64_t>(n / 4) * p.slabs * 4 + n % 4) * 2 + half;
      to_chunk = weight_row * 2 + (half ^ (weight_row >> 2 & 1));
    }
    weights_ = p.weights + chunk_index * 16;
    weights_to_ = kStage.weights + to_chunk * 16;
    scale_bytes_log2_ = p.scale_type == DataType::kFloat32 ? 2 : 1;
    groups_aligned_ =
        (p.n << scale_bytes_log2_) % 16 == 0 && (p.zero_points == nullptr || p.n % 16 == 0);
    prepare_group_copy(thread);
  }

  DOVETAIL_DEVICE void load(std::byte* stage, int slab) const {
    load_weights(stage, slab);
    if (groups_aligned_) {
      load_groups(stage, slab);
    } else {
      load_ragged_groups(stage + kStage.scales, 4 * kTile.columns(), p_.scales, scale_bytes_log2_,
                         slab);
      if (p_.zero_points != nullptr) {
        load_ragged_groups(stage + kStage.zero_points, kTile.columns(), p_.zero_points, 0, slab);
      }
    }
    load_activations(stage, slab);
  }

 private:
  static constexpr Int4GemmTile kTile = kInt4GemmTiles[Tile];
  static constexpr Int4GemmStage kStage = int4_gemm_stage(kTile, sizeof(T));
  static constexpr int kRowStep = kTile.threads() / kRowChunks<T>;
  static constexpr int kWeightsPerSlab = Layout == WeightLayout::kCudaV1 ? 512 : 128;  // bytes
  static_assert(kTile.threads() == kTile.columns() * 2, "a thread copies one weight chunk a slab");
  static_assert(kTile.rows() % kRowStep == 0 && kRowStep % 8 == 0, "the swizzle stays the same");

  DOVETAIL_DEVICE void load_activations(std::byte* stage, int slab) const {
    const T* from = activations_ + static_cast<int64_t>(slab) * kSlab;
    DOVETAIL_UNROLL
    for (int line = 0; line < kTile.warps_k * kTile.rows(); line += kRowStep) {
      const int row = line % kTile.rows(), k_warp = line / kTile.rows();
      const bool valid = row < rows_left_ && (slab + k_warp) * kSlab + chunk_k_ < p_.k;
      ptx::copy_async_16(stage + activations_to_ + line * kRowChunks<T> * 16,
                         valid ? from + static_cast<int64_t>(row) * p_.k + k_warp * kSlab
                               : static_cast<const T*>(p_.activations),
                         valid ? 16 : 0);
    }
  }

  DOVETAIL_DEVICE void load_weights(std::byte* stage, int slab) const {
    const std::byte* from = weights_ + static_cast<int64_t>(slab) * kWeightsPerSlab;
    DOVETAIL_UNROLL
    for (int k_warp = 0; k_warp < kTile.warps_k; ++k_warp) {
      const bool valid = weights_valid_ && slab + k_warp < end_slab_;
      ptx::copy_async_16(stage + weights_to_ + k_warp * kTile.columns() * 32,
                         valid ? from + k_warp * kWeightsPerSlab : p_.weights, valid ? 16 : 0);
    }
  }

  // A slab meets two groups of 32, or (part of) one. Rows [columns] of scales go through threads 0
  // .. 63, zero points through 64 .. 95, at most one chunk a thread and stage.
  DOVETAIL_DEVICE void prepare_group_copy(int thread) {
    constexpr int kColumnsLog2 = kTile.columns() == 64 ? 6 : 7;
    static_assert(1 << kColumnsLog2 == kTile.columns() &&
                  kTile.warps_k * 2 * kTile.columns() <= 256);
    const bool is_scale = thread < 64;
    const std::byte* rows = is_scale ? p_.scales : p_.zero_points;
    const int bytes_log2 = is_scale ? scale_bytes_log2_ : 0;
    const int chunks_log2 = kColumnsLog2 + bytes_log2 - 4;
    const int index = thread % 64, line = index >> chunks_log2;
    const int column = (index & ((1 << chunks_log2) - 1)) * 16;  // in bytes
    const int second = p_.group_size == 32 ? 1 : 0;              // 1: two groups a slab
    group_k_warp_ = line >> second;
    group_row_ = line & second;
    group_shift_ = p_.group_size / 64;  // 0, 1, 2
    has_group_copy_ = thread < 96 && rows != nullptr && group_k_warp_ < kTile.warps_k;
    group_pitch_ = static_cast<int64_t>(p_.n) << bytes_log2;
    const int64_t first = (static_cast<int64_t>(first_column_) << bytes_log2) + column;
    const int64_t left = group_pitch_ - first;
    group_bytes_ = left >= 16 ? 16 : left > 0 ? static_cast<int>(left) : 0;
    group_from_ = group_bytes_ > 0 ? rows + first : rows;
    group_to_ = (is_scale ? kStage.scales : kStage.zero_points) +
                (group_k_warp_ * 2 + group_row_) * kTile.columns() * (is_scale ? 4 : 1) + column;
  }

  DOVETAIL_DEVICE void load_groups(std::byte* stage, int slab) const {
    if (!has_group_copy_) return;
    const int k_slab = slab + group_k_warp_;
    const int group = (k_slab * 2 + group_row_) >> group_shift_;
    const bool exists = k_slab < end_slab_ && group * p_.group_size < p_.k;
    ptx::copy_async_16(stage + group_to_, exists ? group_from_ + group * group_pitch_ : group_from_,
                       exists ? static_cast<uint32_t>(group_bytes_) : 0);
  }

  // The same for rows that are not 16-byte aligned in memory (odd N): through registers.
  DOVETAIL_DEVICE void load_ragged_groups(std::byte* to, int row_bytes, const std::byte* from,
                                          int bytes_log2, int slab) const {
    const int groups = p_.group_size == 32 ? 2 : 1;
    const int thread = static_cast<int>(ptx::thread_index().x);
    DOVETAIL_NO_UNROLL
    for (int index = thread; index < kTile.warps_k * groups * kTile.columns();
         index += kTile.threads()) {
      const int column = index % kTile.columns(), line = index / kTile.columns();
      const int k_slab = slab + line / groups;
      const int group = (k_slab * 2 + line % groups) >> group_shift_;
      const bool exists =
          k_slab < end_slab_ && group * p_.group_size < p_.k && first_column_ + column < p_.n;
      const int64_t at = exists ? static_cast<int64_t>(group) * p_.n + first_column_ + column : 0;
      std::byte* row = to + (line / groups * 2 + line % groups) * row_bytes;
      if (bytes_log2 == 2) {
        const uint32_t v = reinterpret_cast<const uint32_t*>(from)[at];
        reinterpret_cast<uint32_t*>(row)[column] = exists ? v : 0;
      } else if (bytes_log2 == 1) {
        const uint16_t v = reinterpret_cast<const uint16_t*>(from)[at];
        reinterpret_cast<uint16_t*>(row)[column] = exists ? v : uint16_t{0};
      } else {
        const std::byte v = from[at];
        row[column] = exists ? v : std::byte{0};
      }
    }
  }

  const Int4GemmArguments& p_;
  const T* activations_;
  const std::byte* weights_;
  int activations_to_, weights_to_;  // offsets in the stage
  int chunk_k_, rows_left_;
  int first_column_, end_slab_, scale_bytes_log2_;
  const std::byte* group_from_;
  int64_t group_pitch_;
  int group_to_, group_bytes_, group_k_warp_, group_row_, group_shift_;
  bool weights_valid_, groups_aligned_, has_group_copy_;
};

}  // namespace dovetail::cuda
