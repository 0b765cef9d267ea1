// SPDX-License-Identifier: Apache-2.0
// The producers of the kernel for middle rows: warps that each copy every so-many-th stage of 128 k of
// one consumer's activations, scales and zero points by cp.async.
//
// For each consumer a ring of `slots` times activations [2 slabs, tokens, 64], swizzled for wgmma;
// behind those of all consumers, rings of as many times
//   scales       [groups, columns] in 2 bytes
//   zero points  [groups, columns]
// Everything outside M, N and K becomes zero.
#pragma once

#include "cuda/int4_gemm_plan.h"
#include "cuda/int4_gemm_stage.cuh"
#include "cuda/ptx/wgmma.cuh"

namespace dovetail::cuda {

template <int Tile, bool Plain>
struct MiddleRowsProducer {
  static constexpr Int4GemmMiddleRowsTile kTile = kInt4GemmMiddleRowsTiles[Tile];
  static constexpr Int4GemmMiddleRowsStage kStage = int4_gemm_middle_rows_stage(kTile, Plain);
  static constexpr int kTokens = kTile.tokens, kColumns = kTile.columns();
  static constexpr int kWarpgroups = kTile.warpgroups;
  static constexpr int kProducers = kTile.producers, kSlots = kTile.slots();
  static constexpr int kHandover = 128 + 32;  // threads: a consumer and one producer warp

  // The slabs begin .. end of a warpgroup, an even number but at the end of K.
  struct Range {
    int begin, end;
    DOVETAIL_DEVICE Range(const Int4GemmArguments& p, int warpgroup) {
      const int first = static_cast<int>(ptx::block_index().x) % p.splits * p.slabs_per_split;
      const int last = first + p.slabs_per_split < p.slabs ? first + p.slabs_per_split : p.slabs;
      const int pairs = last > first ? (last - first + 1) / 2 : 0;
      const int share = pairs / kWarpgroups, more = pairs % kWarpgroups;
      begin = first + 2 * (share * warpgroup + (warpgroup < more ? warpgroup : more));
      end = begin + 2 * (share + (warpgroup < more ? 1 : 0));
      if (end > last) end = last;
    }
    DOVETAIL_DEVICE int stages() const { return (end - begin + 1) / 2; }
  };
  // Stage i of a consumer belongs to producer i % kProducers of its own, and they meet at its start.
  static DOVETAIL_DEVICE int barrier(int warpgroup, int producer) {
    return 1 + warpgroup * kProducers + producer;
  }

  // Stage i is asked for when stage i - kProducers begins, and i - kProducers - 2 is done with.
  static_assert(kSlots == kProducers + 2);
  static DOVETAIL_DEVICE void produce(const Int4GemmArguments& p, std::byte* ring, int warpgroup,
                                      int producer) {
    const Range range(p, warpgroup);
    const int stages = range.stages();
    const int lane = static_cast<int>(ptx::lane_index()), row = lane / 8, chunk = lane % 8;
    const int first_column = static_cast<int>(ptx::block_index().x) / p.splits * kColumns;
    const auto* activations = static_cast<const std::byte*>(p.activations) +
                              (static_cast<int64_t>(row) * p.k + chunk * 8) * 2;
    const int64_t pitch = static_cast<int64_t>(p.k) * 8;  // 4 rows
    const int to = row * 128 + (chunk ^ row) * 16, flip = (chunk & 4) != 0 ? -64 : 64;
    ptx::wait_for_previous_kernel();
    DOVETAIL_NO_UNROLL
    for (int i = producer; i < stages; i += kProducers) {
      const int place = warpgroup * kSlots + i % kSlots, slab = range.begin + i * 2;
      std::byte* line = ring + place * kStage.activation_bytes + to;
      const std::byte* from = activations + static_cast<int64_t>(slab) * 128;
      const int64_t second = slab + 1 < range.end && (slab + 1) * kSlab + chunk * 8 < p.k ? 128 : 0;
      const bool in_k = slab * kSlab + chunk * 8 < p.k;
      DOVETAIL_UNROLL
      for (int r = 0; r < kTokens; r += 4) {
        const bool valid = in_k && r + row < p.m;
        std::byte* at = line + r * 128 + (r & 4 ? flip : 0);
        ptx::copy_async_16(at, valid ? from : p.weights, valid ? 16 : 0);
        ptx::copy_async_16(at + kTokens * 128, valid ? from + second : p.weights,
                           valid && second != 0 ? 16 : 0);
        from += pitch;
      }
      std::byte* constants =
          ring + kWarpgroups * kSlots * kStage.activation_bytes + place * kStage.constant_bytes;
      load_rows<2>(p, constants, p.scales, slab, first_column);
      if (!Plain && p.zero_points != nullptr)
        load_rows<1>(p, constants + kStage.zero_points, p.zero_points, slab, first_column);
      ptx::copy_async_commit();
      ptx::copy_async_wait<0>();
      ptx::fence_shared_for_wgmma();
      ptx::barrier_sync(barrier(warpgroup, producer), kHandover);
    }
  }

  template <int Bytes>
  static DOVETAIL_DEVICE void load_rows(const Int4GemmArguments& p, std::byte* to,
                                        const std::byte* from, int slab, int first_column) {
    constexpr int kRowBytes = kColumns * Bytes;
    const bool whole = p.n * Bytes % 16 == 0;
    const int piece = whole ? 16 : Bytes, pieces = kRowBytes / piece;  // of a row
    const int rows = p.group_size > 128 ? 1 : 128 / p.group_size;
    const int lane = static_cast<int>(ptx::lane_index());
    DOVETAIL_NO_UNROLL
    for (int c = lane; c < rows * pieces; c += 32) {
      const int row = c / pieces, at = c % pieces * piece;
      const int group = slab * kSlab / p.group_size + row;
      const int left = (p.n - first_column) * Bytes - at;
      const bool valid = left > 0 && group * p.group_size < p.k;
      const std::byte* source =
          from + (valid ? (static_cast<int64_t>(group) * p.n + first_column) * Bytes + at : 0);
      if (whole) {
        ptx::copy_async_16(to + row * kRowBytes + at, source, valid ? (left < 16 ? left : 16) : 0);
      } else if constexpr (Bytes == 2) {
        *reinterpret_cast<uint16_t*>(to + row * kRowBytes + at) =
            valid ? *reinterpret_cast<const uint16_t*>(source) : uint16_t{0};
      } else {
        to[row * kRowBytes + at] = valid ? *source : std::byte{0};
      }
    }
  }
};

}  // namespace dovetail::cuda
