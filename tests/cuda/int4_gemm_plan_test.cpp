// SPDX-License-Identifier: Apache-2.0
// The CUDA plan of the int4 GEMM: what holds on every device, and a few plans in words.
#include "cuda/int4_gemm_plan.h"

#include <gtest/gtest.h>

namespace dovetail::cuda {
namespace {

Int4GemmProblem problem(std::int64_t m, std::int32_t n, std::int32_t k, DataType type) {
  return {.attributes = {.gemm_n = n,
                         .gemm_k = k,
                         .group_size = 128,
                         .weight_layout = WeightLayout::kCudaV1},
          .activation_type = type,
          .scale_type = DataType::kFloat16,
          .m = m};
}

constexpr int kMultiprocessors[] = {1, 2, 14, 16, 48, 82, 108, 132, 148, 188};

TEST(Int4GemmPlan, CoversEveryOutputAndEveryKOnEveryDevice) {
  for (const int multiprocessors : kMultiprocessors) {
    for (const int shared_kb : {99, 163, 227}) {
      for (const DataType type : {DataType::kFloat16, DataType::kFloat32}) {
        for (const std::int64_t m : {0, 1, 16, 17, 64, 65, 4096}) {
          for (const auto& [n, k] : {std::pair(1, 128), std::pair(1024, 4096),
                                     std::pair(4096, 14336), std::pair(128256, 2048)}) {
            const auto s = schedule_int4_gemm(problem(m, n, k, type),
                                              {.compute_capability = 80,
                                               .multiprocessors = multiprocessors,
                                               .shared_memory_bytes = shared_kb * 1024},
                                              Int4GemmKernel::kRowTiles);
            ASSERT_TRUE(s.ok()) << s.status().message();
            SCOPED_TRACE(testing::Message() << multiprocessors << ' ' << m << ' ' << describe(*s));
            const Int4GemmTile& t = kInt4GemmTiles[s->tile];
            EXPECT_GE(s->blocks_m * t.rows(), m);
            EXPECT_GE(s->blocks_n * t.columns(), n);
            EXPECT_EQ(s->slabs * 64, k);
            EXPECT_GE(s->splits * s->slabs_per_split, s->slabs);
            EXPECT_LT((s->splits - 1) * s->slabs_per_split, s->slabs) << "a split without work";
            EXPECT_LE(s->shared_bytes, shared_kb * 1024);
            EXPECT_LE(s->blocks_n, 65535);
            EXPECT_LE(s->splits, 64);
            EXPECT_EQ(s->workspace_bytes,
                      s->splits > 1 ? static_cast<std::size_t>(s->splits * m * n * 4) : 0u);
            // K is split only while the GPU has room for the blocks.
            if (s->splits > 1) {
              EXPECT_LE(s->blocks_m * s->blocks_n * s->splits, 8 * multiprocessors);
            }
          }
        }
      }
    }
  }
}

TEST(Int4GemmPlan, FewRowsShareKAmongTheWarpsOfABlock) {
  for (const int multiprocessors : kMultiprocessors) {
    for (const int shared_kb : {99, 163, 227}) {
      for (const int group : {32, 64, 128}) {
        for (const std::int64_t m : {1, 8, 9, 16}) {
          for (const auto& [n, k] : {std::pair(64, 128), std::pair(896, 4864),
                                     std::pair(4096, 14336), std::pair(128256, 2048)}) {
            Int4GemmProblem p = problem(m, n, k, DataType::kFloat16);
            p.attributes.group_size = group;
            p.attributes.has_zero_points = 1;
            const auto s = schedule_int4_gemm(p, {.compute_capability = 80,
                                                  .multiprocessors = multiprocessors,
                                                  .shared_memory_bytes = shared_kb * 1024});
            ASSERT_TRUE(s.ok()) << s.status().message();
            SCOPED_TRACE(testing::Message() << multiprocessors << ' ' << m << ' ' << describe(*s));
            ASSERT_EQ(s->kernel, Int4GemmKernel::kFewRows);
            const Int4GemmFewRowsTile& t = kInt4GemmFewRowsTiles[s->tile];
            EXPECT_TRUE(t.takes_group(group));
            EXPECT_GE(8 * t.token_tiles, m);
            EXPECT_EQ(s->blocks_n * 16 * t.tiles, n);
            EXPECT_GE(s->warps, 1);
            EXPECT_LE(s->warps, t.most_warps);
            EXPECT_LE(s->warps, k / 128) << "a warp without work";
            EXPECT_GE(s->slot_bytes, m * 256 + 128 / group * 16 * t.tiles * 3);
            EXPECT_EQ(s->slot_bytes % 256, 0) << "the swizzle";
            EXPECT_LE(s->shared_bytes, shared_kb * 1024);
            EXPECT_EQ(s->workspace_bytes, 0u);
          }
        }
      }
    }
  }
}

TEST(Int4GemmPlan, WgmmaSharesCoverTheProduct) {
  for (const int multiprocessors : kMultiprocessors) {
    const CudaDevice device{.compute_capability = 90,
                            .multiprocessors = multiprocessors,
                            .shared_memory_bytes = 227 * 1024};
    for (const bool is_plain : {true, false}) {
      for (const std::int64_t m : {9, 17, 33, 64, 65, 200, 4096}) {
        for (const auto& [n, k] : {std::pair(16, 128), std::pair(1000, 4160),
                                   std::pair(14336, 4096), std::pair(128256, 2048)}) {
          Int4GemmProblem p = problem(m, n, k, DataType::kFloat16);
          p.attributes.group_size = 32;
          p.attributes.has_zero_points = is_plain ? 0 : 1;
          const auto s = schedule_int4_gemm(p, device);
          ASSERT_TRUE(s.ok()) << s.status().message();
          SCOPED_TRACE(testing::Message() << multiprocessors << ' ' << m << ' ' << describe(*s));
          const bool is_middle = s->kernel == Int4GemmKernel::kMiddleRows;
          ASSERT_TRUE(is_middle || s->kernel == Int4GemmKernel::kWarpgroup);
          const Int4GemmMiddleRowsTile& middle = kInt4GemmMiddleRowsTiles[is_middle ? s->tile : 0];
          const Int4GemmWarpgroupTile& t = kInt4GemmWarpgroupTiles[is_middle ? 0 : s->tile];
          EXPECT_GE(s->blocks_m * (is_middle ? middle.tokens : t.tokens), m);
          EXPECT_GE(s->blocks_n * (is_middle ? middle.columns() : t.columns()), n);
          EXPECT_EQ(s->slabs_per_split % (is_middle ? 2 : t.slabs), 0);
          EXPECT_GE(s->splits * s->slabs_per_split, s->slabs);
          EXPECT_LT((s->splits - 1) * s->slabs_per_split, s->slabs) << "a split without work";
          const std::int64_t shares = s->blocks_m * s->blocks_n * s->splits;
          EXPECT_EQ(s->grid, is_middle ? shares : std::min<std::int64_t>(shares, multiprocessors));
          EXPECT_EQ(s->splits > 1 && s->grid != shares, false);
          EXPECT_EQ(s->blocks_m == 1 || !is_middle, true);
          EXPECT_LE(s->workspace_bytes, most_int4_gemm_workspace(p, device));
        }
      }
    }
  }
}

TEST(Int4GemmPlan, ChoosesTheKernelForTheDevice) {
  const CudaDevice h100{
      .compute_capability = 90, .multiprocessors = 132, .shared_memory_bytes = 227 * 1024};
  const auto plan = [&](std::int64_t m, std::int32_t n, std::int32_t k, CudaDevice device) {
    return describe(*schedule_int4_gemm(problem(m, n, k, DataType::kFloat16), device));
  };
  EXPECT_EQ(plan(1, 1024, 4096, h100),
            "int4_gemm: cuda, few rows, 8x16, 16 warps share k, grid 64, "
            "32768 bytes of shared memory");
  EXPECT_EQ(plan(1, 14336, 4096, h100),
            "int4_gemm: cuda, few rows, 8x64, 8 warps share k, grid 224, "
            "16384 bytes of shared memory");
  EXPECT_EQ(
      plan(128, 4096, 14336, h100),
      "int4_gemm: cuda, wgmma, tile 128x256, 4 stages, 384 threads, grid 1x16x8 on 128 blocks, "
      "1792 k a block, 219136 bytes of shared memory, 16777216 bytes of workspace");
  EXPECT_EQ(plan(32, 4096, 4096, h100),
            "int4_gemm: cuda, wgmma, up to 32x64, 2 warpgroups share k, grid 64x2, 2048 k a block, "
            "118784 bytes of shared memory, 1048576 bytes of workspace");
  EXPECT_EQ(
      plan(2048, 4096, 4096, h100),
      "int4_gemm: cuda, wgmma, tile 128x256, 4 stages, 384 threads, grid 16x16x1 on 132 blocks, "
      "4096 k a block, 219136 bytes of shared memory, 0 bytes of workspace");
  EXPECT_EQ(
      plan(32, 14336, 4096, h100),
      "int4_gemm: cuda, wgmma, up to 32x128, 2 warpgroups share k, grid 112x1, 4096 k a block, "
      "138240 bytes of shared memory, 0 bytes of workspace");
  const auto kernel_of_group = [&](std::int64_t m, std::int32_t group_size, int zero_points = 0) {
    Int4GemmProblem p = problem(m, 14336, 4096, DataType::kFloat16);
    p.attributes.group_size = group_size;
    p.attributes.has_zero_points = zero_points;
    return schedule_int4_gemm(p, h100)->kernel;
  };
  EXPECT_EQ(kernel_of_group(8, 32), Int4GemmKernel::kFewRows);
  EXPECT_EQ(kernel_of_group(9, 32), Int4GemmKernel::kMiddleRows);
  EXPECT_EQ(kernel_of_group(12, 128), Int4GemmKernel::kFewRows);
  EXPECT_EQ(kernel_of_group(13, 128), Int4GemmKernel::kMiddleRows);
  EXPECT_EQ(kernel_of_group(13, 128, 1), Int4GemmKernel::kFewRows);
  CudaDevice other = h100;
  other.compute_capability = 100;
  EXPECT_EQ(plan(2048, 4096, 4096, other),
            "int4_gemm: cuda, tile 128x128, 4 stages, 256 threads, grid 16x32x1, "
            "4096 k a block, 87040 bytes of shared memory, 0 bytes of workspace");
}

TEST(Int4GemmPlan, RefusesWithAReason) {
  const auto message = [](Int4GemmProblem p, int capability = 80, int shared = 163 * 1024) {
    return schedule_int4_gemm(p, {.compute_capability = capability,
                                  .multiprocessors = 108,
                                  .shared_memory_bytes = shared})
        .status()
        .message();
  };
  Int4GemmProblem p = problem(1, 60, 128, DataType::kFloat16);
  EXPECT_EQ(message(p), "");
  EXPECT_EQ(message(p, 75), "int4_gemm: the device is sm_75, expected sm_80 or later");
  EXPECT_EQ(message(p, 80, 48 * 1024),
            "int4_gemm: a block needs 56832 bytes of shared memory, the device has 49152");
  p.attributes.weight_layout = WeightLayout::kCpuV1;
  EXPECT_EQ(message(p),
            "int4_gemm: weight_layout is cpu_v1, expected edgellm_v1 or cuda_v1 on CUDA");
  p.attributes.weight_layout = WeightLayout::kCudaV1;
  p.attributes.compute_mode = ComputeMode::kInt8;
  EXPECT_EQ(message(p), "int4_gemm: compute_mode is int8, expected auto or exact on CUDA");
}

}  // namespace
}  // namespace dovetail::cuda
