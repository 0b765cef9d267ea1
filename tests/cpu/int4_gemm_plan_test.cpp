// SPDX-License-Identifier: Apache-2.0
// The schedule is a pure function: its invariants over many shapes, and the choices that matter.
#include "cpu/int4_gemm_plan.h"

#include <gtest/gtest.h>

#include <cstdlib>

namespace dovetail::cpu {
namespace {

Int4GemmProblem problem_of(std::int64_t m, std::int32_t n, std::int32_t k,
                           std::int32_t group = 128) {
  return {.attributes = {.gemm_n = n,
                         .gemm_k = k,
                         .group_size = group,
                         .weight_layout = WeightLayout::kCpuV1},
          .activation_type = DataType::kFloat32,
          .scale_type = DataType::kFloat16,
          .m = m};
}

constexpr CpuTier kTiers[] = {CpuTier::kGeneric, CpuTier::kAvx2, CpuTier::kAvx512, CpuTier::kAmx};

TEST(Int4GemmSchedule, KeepsItsInvariants) {
  for (CpuTier tier : kTiers) {
    for (ComputeMode mode : {ComputeMode::kExact, ComputeMode::kInt8}) {
      for (int threads : {1, 2, 16}) {
        for (std::int64_t m : {1, 2, 7, 16, 17, 64, 511, 512, 513, 4096}) {
          for (std::int32_t n : {1, 17, 4096, 128256}) {
            for (std::int32_t k : {32, 896, 14336}) {
              const Int4GemmSchedule s = schedule_int4_gemm(problem_of(m, n, k, 32), mode,
                                                            int4_gemm_kernels(tier, m), threads);
              SCOPED_TRACE(testing::Message()
                           << name_of(tier) << " " << name_of(mode) << " threads " << threads
                           << " M " << m << " N " << n << " K " << k);
              EXPECT_EQ(s.panels, (n + 15) / 16);
              EXPECT_GE(s.panels_per_task, 1);
              EXPECT_LE(s.panels_per_task, s.panels);
              EXPECT_TRUE(s.pass_rows == m || s.pass_rows % s.tile_rows == 0);
              EXPECT_LE(s.pass_rows, kPassRows);
              EXPECT_EQ(s.block_rows % s.tile_rows, 0);
              EXPECT_LE(s.block_rows, kMaxBlockRows);
              EXPECT_LE(s.chunk_k, kMaxChunkK);
              EXPECT_TRUE(s.chunk_k == k || s.chunk_k % 128 == 0);
              EXPECT_GE(s.stretch_k, 32);
              EXPECT_EQ(s.stretch_k % 32, 0);
              const bool pieces = tier == CpuTier::kAmx && m >= 4;  // fp32 as three bf16
              const std::int64_t bytes = mode == ComputeMode::kInt8 ? 1 : pieces ? 6 : 4;
              EXPECT_EQ(s.value_bytes, bytes);
              EXPECT_GE(s.workspace_bytes, static_cast<std::size_t>(s.pass_rows * k * bytes));
              EXPECT_LE(s.workspace_bytes,
                        static_cast<std::size_t>(kPassRows * k * bytes * 5 / 4 + 256));
            }
          }
        }
      }
    }
  }
}

TEST(Int4GemmSchedule, StreamsWeightsOnceUpTo16Rows) {
  for (CpuTier tier : kTiers) {
    for (std::int32_t k : {2048, 4096, 14336}) {
      const Int4GemmSchedule s = schedule_int4_gemm(problem_of(16, 4096, k), ComputeMode::kInt8,
                                                    int4_gemm_kernels(tier, 16), 2);
      EXPECT_GE(s.block_rows, 16) << name_of(tier) << " K " << k;
    }
  }
}

TEST(Int4GemmSchedule, GivesEveryThreadWork) {
  for (int threads : {2, 4, 16}) {
    for (std::int64_t m : {1, 16, 512}) {
      const Int4GemmSchedule s = schedule_int4_gemm(problem_of(m, 4096, 4096), ComputeMode::kInt8,
                                                    int4_gemm_kernels(CpuTier::kAvx2, m), threads);
      const std::int64_t blocks = (m + s.block_rows - 1) / s.block_rows;
      const std::int64_t tasks = blocks * ((s.panels + s.panels_per_task - 1) / s.panels_per_task);
      EXPECT_GE(tasks, 2 * threads) << "M " << m;
      EXPECT_LE(tasks, 32 * threads) << "M " << m;
    }
  }
}

TEST(Int4GemmSchedule, RunsATinyCallInOneTask) {
  const Int4GemmSchedule s = schedule_int4_gemm(problem_of(1, 64, 128), ComputeMode::kInt8,
                                                int4_gemm_kernels(CpuTier::kAvx2, 1), 16);
  EXPECT_EQ(s.panels_per_task, s.panels);
}

TEST(Int4GemmPlan, TheEnvironmentOverridesTheMode) {
  Int4GemmProblem p = problem_of(1, 64, 128);
  const auto described = [&] {
    const Result<CpuInt4GemmPlan> planned = plan(p, {CpuTier::kGeneric, 1});
    return planned.ok() ? planned->describe() : planned.status().message();
  };
  p.attributes.compute_mode = ComputeMode::kInt8;
  EXPECT_NE(described().find(", int8, "), std::string::npos);
  setenv("DOVETAIL_COMPUTE", "exact", 1);
  EXPECT_NE(described().find(", exact, "), std::string::npos);
  setenv("DOVETAIL_COMPUTE", "fast", 1);
  EXPECT_EQ(described(), "DOVETAIL_COMPUTE is \"fast\", expected exact or int8");
  unsetenv("DOVETAIL_COMPUTE");
}

TEST(Int4GemmPlan, RefusesWhatItCannotRun) {
  Int4GemmProblem p = problem_of(1, 64, 128);
  p.attributes.weight_layout = WeightLayout::kCudaV1;
  EXPECT_EQ(plan(p, {CpuTier::kGeneric, 1}).status().message(),
            "int4_gemm: weight_layout is cuda_v1, expected edgellm_v1 or cpu_v1 on the CPU");
  p.attributes.weight_layout = WeightLayout::kCpuV1;
  p.attributes.has_bias = 1;
  const Result<CpuInt4GemmPlan> planned = plan(p, {CpuTier::kGeneric, 1});
  ASSERT_TRUE(planned.ok());
  char byte = 0;
  ThreadPool pool(1);
  const Status status =
      planned->run({.activations = &byte, .weights = &byte, .scales = &byte}, pool.runner());
  EXPECT_EQ(status.message(), "int4_gemm: bias is null");
}

}  // namespace
}  // namespace dovetail::cpu
