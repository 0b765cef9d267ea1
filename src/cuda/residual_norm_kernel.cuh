// SPDX-License-Identifier: Apache-2.0
// The ResidualRMSNorm kernel. Pass 1: sum, rounded to its type and stored, and its squares; then
// the block adds the squares up. Pass 2: the sum times factor times weight. A thread's first piece
// stays in registers, further ones (rows wider than the block) come back from the sum it stored.
#pragma once

#include <bit>

#include "cuda/ptx.cuh"
#include "cuda/residual_norm_plan.h"

namespace dovetail::cuda {

struct ResidualNormArguments {
  const void* x;         // [B * S, H]
  const void* residual;  // [B * S, H]
  const void* weight;    // [H]
  const int64_t* rows;   // [B, L] or null: all rows
  void* normed;          // [M, H]
  void* sum;             // [M, H]
  int64_t m, hidden;
  int64_t tokens, rows_per_lane;  // S, L
  float per_hidden, epsilon;      // 1 / H
};

// kWidth neighbouring elements: 16 bytes of them, or one.
template <class T, bool kVectors>
struct NormPiece {
  static constexpr int kWidth = kVectors ? 16 / sizeof(T) : 1;
  float value[kWidth];
};

template <class T>
DOVETAIL_DEVICE void unpack_word(uint32_t word, float* to) {
  if constexpr (std::is_same_v<T, float>) {
    to[0] = std::bit_cast<float>(word);
  } else {
    const ptx::Float2 pair = ptx::unpack2<T>(word);
    to[0] = pair.x;
    to[1] = pair.y;
  }
}

template <class T>
DOVETAIL_DEVICE uint32_t pack_word(const float* from) {
  if constexpr (std::is_same_v<T, float>) {
    return std::bit_cast<uint32_t>(from[0]);
  } else {
    return ptx::pack2<T>(from[0], from[1]);
  }
}

template <class T, bool kVectors>
DOVETAIL_DEVICE NormPiece<T, kVectors> load_piece(const T* from) {
  NormPiece<T, kVectors> piece;
  if constexpr (kVectors) {
    constexpr int kPerWord = 4 / sizeof(T);
    const ptx::Vec4 v = *reinterpret_cast<const ptx::Vec4*>(from);
    unpack_word<T>(v.x, piece.value);
    unpack_word<T>(v.y, piece.value + kPerWord);
    unpack_word<T>(v.z, piece.value + 2 * kPerWord);
    unpack_word<T>(v.w, piece.value + 3 * kPerWord);
  } else {
    piece.value[0] = ptx::to_float(*from);
  }
  return piece;
}

template <class T, bool kVectors>
DOVETAIL_DEVICE void store_piece(T* to, const NormPiece<T, kVectors>& piece) {
  if constexpr (kVectors) {
    constexpr int kPerWord = 4 / sizeof(T);
    *reinterpret_cast<ptx::Vec4*>(to) = {
        pack_word<T>(piece.value), pack_word<T>(piece.value + kPerWord),
        pack_word<T>(piece.value + 2 * kPerWord), pack_word<T>(piece.value + 3 * kPerWord)};
  } else if constexpr (std::is_same_v<T, float>) {
    *to = piece.value[0];
  } else {
    *to = ptx::round_to<T>(piece.value[0]);
  }
}

// A number as its type holds it.
template <class T>
DOVETAIL_DEVICE float as_stored(float v) {
  if constexpr (std::is_same_v<T, float>) {
    return v;
  } else {
    return ptx::to_float(ptx::round_to<T>(v));
  }
}

// The sum over the block, in every thread. `warps`: one float for each.
DOVETAIL_DEVICE float block_sum(float v, float* warps) {
  DOVETAIL_UNROLL
  for (uint32_t bit = 16; bit > 0; bit /= 2) v += ptx::shuffle_xor(v, bit);
  if (ptx::lane_index() == 0) warps[ptx::warp_index()] = v;
  ptx::sync_threads();
  v = ptx::lane_index() < ptx::block_size().x / ptx::kWarpSize ? warps[ptx::lane_index()] : 0.0f;
  DOVETAIL_UNROLL
  for (uint32_t bit = 16; bit > 0; bit /= 2) v += ptx::shuffle_xor(v, bit);
  return v;
}

// source_row of ops/residual_norm.h.
DOVETAIL_DEVICE int64_t source_of(const ResidualNormArguments& p, int64_t row) {
  if (p.rows == nullptr) return row;
  const int64_t token = p.rows[row] < 0 ? 0 : p.rows[row];
  return row / p.rows_per_lane * p.tokens + (token < p.tokens ? token : p.tokens - 1);
}

template <class T, bool kVectors>
DOVETAIL_KERNEL(kMostResidualNormThreads)
residual_norm_kernel(const DOVETAIL_GRID_CONSTANT ResidualNormArguments p) {
  using Piece = NormPiece<T, kVectors>;
  // Two rows of partial sums, in turn: no thread is more than one row ahead.
  DOVETAIL_SHARED(float[2 * kMostResidualNormThreads / 32], partial);
  ptx::let_next_kernel_start();
  const T* weight = static_cast<const T*>(p.weight);
  const int64_t first = int64_t{ptx::thread_index().x} * Piece::kWidth;
  const int64_t step = int64_t{ptx::block_size().x} * Piece::kWidth;
  Piece first_weight{};
  if (first < p.hidden) first_weight = load_piece<T, kVectors>(weight + first);
  ptx::wait_for_previous_kernel();
  int turn = 0;
  for (int64_t row = ptx::block_index().x; row < p.m; row += ptx::grid_size().x, turn ^= 1) {
    const int64_t source = source_of(p, row) * p.hidden;
    const T* x = static_cast<const T*>(p.x) + source;
    const T* residual = static_cast<const T*>(p.residual) + source;
    T* sum = static_cast<T*>(p.sum) + row * p.hidden;
    T* normed = static_cast<T*>(p.normed) + row * p.hidden;
    Piece kept{};
    float squares = 0.0f;
    for (int64_t at = first; at < p.hidden; at += step) {
      Piece piece = load_piece<T, kVectors>(x + at);
      const Piece other = load_piece<T, kVectors>(residual + at);
      DOVETAIL_UNROLL
      for (int i = 0; i < Piece::kWidth; ++i) {
        piece.value[i] = as_stored<T>(piece.value[i] + other.value[i]);
        squares += piece.value[i] * piece.value[i];
      }
      store_piece<T, kVectors>(sum + at, piece);
      if (at == first) kept = piece;
    }
    const float total = block_sum(squares, partial + turn * (kMostResidualNormThreads / 32));
    const float mean = total * p.per_hidden + p.epsilon;
    const float estimate = ptx::reciprocal_sqrt_fast(mean);
    const float factor = estimate * (1.5f - 0.5f * mean * estimate * estimate);  // a Newton step
    for (int64_t at = first; at < p.hidden; at += step) {
      Piece piece = at == first ? kept : load_piece<T, kVectors>(sum + at);
      const Piece scale = at == first ? first_weight : load_piece<T, kVectors>(weight + at);
      DOVETAIL_UNROLL
      for (int i = 0; i < Piece::kWidth; ++i) piece.value[i] *= factor * scale.value[i];
      store_piece<T, kVectors>(normed + at, piece);
    }
  }
}

}  // namespace dovetail::cuda
