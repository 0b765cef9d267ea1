// SPDX-License-Identifier: Apache-2.0
#include "cuda/int4_gemm_wgmma_plan.h"

#include <algorithm>
#include <limits>

namespace dovetail::cuda {
namespace {

constexpr std::int64_t kMostSplits = 16;

// A tile of either kernel. A block's time in ns is so much for each slab, and for start and end.
// These, the second launch, each split and the bytes of the sums (they stay in L2) are fitted to some
// 160 measured combinations on an H100. For nine matrices and 16 to 64 rows it picks the best of all,
// or one that is at most 2% slower.
struct SharedTile {
  int tokens, columns, slabs;
  std::int64_t slab_ns, share_ns;
};
constexpr SharedTile shared(const Int4GemmMiddleRowsTile& t) {
  return {t.tokens, t.columns(), 2, t.slab_ns, 2340};
}
constexpr SharedTile shared(const Int4GemmWarpgroupTile& t) {
  return {t.tokens, t.columns(), t.slabs, t.slab_ns, 1630};
}
constexpr std::int64_t kReduceNs = 780, kSplitNs = 243, kReduceBytesPerNs = 6000;

std::int64_t time_ns(const Int4GemmProblem& p, const SharedTile& t, std::int64_t slabs,
                     std::int64_t splits, const CudaDevice& device) {
  const std::int64_t outputs = p.m * p.attributes.gemm_n;
  const std::int64_t shares =
      divide_up(p.m, t.tokens) * divide_up(p.attributes.gemm_n, t.columns) * splits;
  const std::int64_t turns = divide_up(shares, device.multiprocessors);
  const std::int64_t ns = turns * (slabs * t.slab_ns + t.share_ns);
  if (splits == 1) return ns;
  if (turns > 1) return std::numeric_limits<std::int64_t>::max();  // see most_wgmma_workspace
  return ns + kReduceNs + splits * (kSplitNs + 8 * outputs / kReduceBytesPerNs);
}

// The best of a kernel's tiles and splits, if it is better than `best` (0: anything is).
template <class Tile, std::size_t Count>
std::int64_t choose_shared_tile(Int4GemmSchedule& s, Int4GemmKernel kernel,
                                const Tile (&tiles)[Count], std::int64_t best,
                                const CudaDevice& device) {
  for (std::size_t tile = 0; tile < Count; ++tile) {
    const SharedTile t = shared(tiles[tile]);
    if (kernel == Int4GemmKernel::kMiddleRows && t.tokens < s.problem.m) continue;
    for (std::int64_t wanted = 1; wanted <= kMostSplits; ++wanted) {
      const std::int64_t slabs_per_split = round_up(divide_up(s.slabs, wanted), t.slabs);
      const std::int64_t splits = divide_up(s.slabs, slabs_per_split);
      const std::int64_t ns = time_ns(s.problem, t, slabs_per_split, splits, device);
      if (best != 0 && ns >= best) continue;
      best = ns, s.kernel = kernel, s.tile = static_cast<int>(tile);
      s.slabs_per_split = slabs_per_split, s.splits = static_cast<int>(splits);
    }
  }
  return best;
}

template <class Tile, std::size_t Count>
std::int64_t most_sums(const Int4GemmProblem& p, const Tile (&tiles)[Count],
                       const CudaDevice& device) {
  const std::int64_t slabs = divide_up(p.attributes.gemm_k, kSlab);
  std::int64_t most = 0;
  for (const Tile& tile : tiles) {
    const SharedTile t = shared(tile);
    const std::int64_t blocks_n = divide_up(p.attributes.gemm_n, t.columns);
    for (std::int64_t blocks_m = 1; blocks_m * blocks_n <= device.multiprocessors; ++blocks_m) {
      const std::int64_t splits = std::min(
          {device.multiprocessors / (blocks_m * blocks_n), divide_up(slabs, t.slabs), kMostSplits});
      const std::int64_t rows = std::min(p.m, blocks_m * t.tokens);
      if (splits > 1) most = std::max(most, splits * rows * p.attributes.gemm_n);
    }
  }
  return most;
}

}  // namespace

bool has_narrow_types(const Int4GemmProblem& p) {
  return p.activation_type != DataType::kFloat32 && p.scale_type != DataType::kFloat32;
}

bool suits_wgmma(const Int4GemmProblem& p, const CudaDevice& device) {
  return device.compute_capability == 90 && has_narrow_types(p) &&
         p.scale_type == p.activation_type && p.m > 8 && p.attributes.gemm_n >= 16;
}

// Of the problems that the few-row kernel takes too, those that are faster here. Groups below 128
// leave its wide tiles no registers: 16 rows of 4096 x 14336 take it 15.6, 20.4 and 32.4 us with groups
// of 128, 64 and 32 on an H100, and 14.5, 14.7 and 17.1 here. Of 4096 x 4096 it is 6.4, 7.0 and 8.4
// against 7.7, 7.8 and 8.4. Zero points cost more here: 17.3 us
// instead of 14.5.
bool prefers_wgmma(const Int4GemmProblem& p, const CudaDevice& device) {
  if (!suits_wgmma(p, device)) return false;
  const Int4GemmAttributes& a = p.attributes;
  const bool is_wide = a.gemm_n > a.gemm_k;
  const bool has_zero_points = a.has_zero_points != 0;
  if (a.group_size == 128) return is_wide && !has_zero_points && p.m > 12 && a.swiglu == 0;
  return is_wide || (!has_zero_points && std::int64_t{a.gemm_n} * a.gemm_k > 1 << 24);
}

void schedule_wgmma(Int4GemmSchedule& s, const CudaDevice& device,
                    std::optional<Int4GemmKernel> only) {
  const Int4GemmAttributes& a = s.problem.attributes;
  s.slabs = divide_up(a.gemm_k, kSlab);
  std::int64_t best = 0;
  if (only != Int4GemmKernel::kWarpgroup) {
    best =
        choose_shared_tile(s, Int4GemmKernel::kMiddleRows, kInt4GemmMiddleRowsTiles, best, device);
  }
  if (only != Int4GemmKernel::kMiddleRows) {
    choose_shared_tile(s, Int4GemmKernel::kWarpgroup, kInt4GemmWarpgroupTiles, best, device);
  }
  const bool is_middle = s.kernel == Int4GemmKernel::kMiddleRows;
  const Int4GemmMiddleRowsTile& m = kInt4GemmMiddleRowsTiles[is_middle ? s.tile : 0];
  const Int4GemmWarpgroupTile& w = kInt4GemmWarpgroupTiles[is_middle ? 0 : s.tile];
  const SharedTile t = is_middle ? shared(m) : shared(w);
  s.shared_bytes = is_middle ? int4_gemm_middle_rows_shared_bytes(m, is_plain_wgmma(a))
                             : int4_gemm_warpgroup_shared_bytes(w, is_plain_wgmma(a));
  s.blocks_m = divide_up(s.problem.m, t.tokens);
  s.blocks_n = divide_up(a.gemm_n, t.columns);
  s.grid = s.blocks_m * s.blocks_n * s.splits;
  if (!is_middle) s.grid = std::min<std::int64_t>(s.grid, device.multiprocessors);
}

std::size_t most_wgmma_workspace(const Int4GemmProblem& p, const CudaDevice& device) {
  return static_cast<std::size_t>(std::max(most_sums(p, kInt4GemmMiddleRowsTiles, device),
                                           most_sums(p, kInt4GemmWarpgroupTiles, device))) *
         sizeof(float);
}

}  // namespace dovetail::cuda
