// SPDX-License-Identifier: Apache-2.0
// The pure side of CpuAttentionPlan: how work is cut, what it costs in memory, and what is refused.
#include "cpu/attention_plan.h"

#include <gtest/gtest.h>

#include <cstdlib>

namespace dovetail {
namespace {

AttentionProblem problem(AttentionMode mode, int q_heads, int kv_heads, std::int64_t batch,
                         std::int64_t tokens, std::int64_t capacity) {
  return {.attributes = {.num_q_heads = q_heads, .num_kv_heads = kv_heads, .head_size = 128},
          .mode = mode,
          .batch = batch,
          .tokens = tokens,
          .capacity = capacity,
          .rope_rows = capacity,
          .rotary_width = 128};
}

AttentionWork work_of(const AttentionProblem& p, int threads) {
  return plan_attention(p, threads, kAttentionGeneric);
}

TEST(AttentionPlan, SplitsKeysOnlyWhenHeadsAreFewerThanTheThreadsNeed) {
  const auto splits = [](int kv_heads, int threads) {
    return work_of(problem(AttentionMode::kDecode, 32, kv_heads, 1, 1, 8192), threads).key_splits;
  };
  EXPECT_EQ(splits(8, 1), 1);
  EXPECT_EQ(splits(8, 2), 1);
  EXPECT_EQ(splits(1, 2), 8);
  EXPECT_EQ(splits(2, 16), 32);
  EXPECT_EQ(splits(8, 16), 8);
}

TEST(AttentionPlan, ShortCachesAreNotSplit) {
  EXPECT_EQ(work_of(problem(AttentionMode::kDecode, 32, 1, 1, 1, 500), 16).key_splits, 1);
}

TEST(AttentionPlan, PrefillIsCutIntoRowBlocksInstead) {
  const AttentionWork work = work_of(problem(AttentionMode::kPrefill, 32, 8, 1, 512, 512), 2);
  EXPECT_EQ(work.block.rows, kMostRows);
  EXPECT_EQ(work.row_blocks, 512 * 4 / kMostRows);
  EXPECT_EQ(work.key_splits, 1);
}

TEST(AttentionPlan, SplitsCoverEveryKeyOnce) {
  const AttentionWork work = work_of(problem(AttentionMode::kDecode, 32, 2, 1, 1, 8192), 16);
  for (std::int64_t length : {1, 31, 255, 256, 511, 512, 513, 4096, 8191, 8192}) {
    for (std::int64_t begin : {0, 5}) {
      const KeyRange keys{begin, begin + length};
      const std::int64_t splits = splits_of(work, keys);
      std::int64_t next = keys.begin;
      for (std::int64_t i = 0; i < splits; ++i) {
        const KeyRange part = split(work, keys, splits, i);
        EXPECT_EQ(part.begin, next) << length;
        EXPECT_LT(part.begin, part.end) << length;
        next = part.end;
      }
      EXPECT_EQ(next, keys.end) << length;
    }
  }
}

TEST(AttentionPlan, WindowLimitsTheKeysOfABlock) {
  AttentionProblem p = problem(AttentionMode::kChunkedPrefill, 8, 2, 1, 64, 1024);
  const LaneExtent lane{500, 64};
  EXPECT_EQ(visible_keys(p, lane, 0, 4).begin, 0);
  EXPECT_EQ(visible_keys(p, lane, 0, 4).end, 501);
  p.attributes.sliding_window_size = 100;
  EXPECT_EQ(visible_keys(p, lane, 8, 16).begin, 502 - 100 + 1);
  EXPECT_EQ(visible_keys(p, lane, 8, 16).end, 504);
}

TEST(AttentionPlan, ScratchPiecesDoNotOverlap) {
  for (std::int64_t tokens : {1, 2, 9, 300}) {
    const AttentionProblem p = problem(AttentionMode::kChunkedPrefill, 32, 8, 1, tokens, 2048);
    const AttentionWork work = work_of(p, 2);
    const AttentionScratch& at = work.scratch;
    const std::int64_t d = 128;
    EXPECT_GE(at.sums - at.query, work.block.rows * d);
    EXPECT_GE(at.scores - at.sums, work.block.rows * d);
    EXPECT_GE(at.keys - at.scores, work.block.keys * 8);
    EXPECT_GE(at.values - at.keys, work.block.keys * d);
    EXPECT_GE(at.top - at.values, work.block.keys * d);
    EXPECT_GE(at.total - at.top, work.block.rows);
    EXPECT_GE(at.floats, at.bounds + 2 * work.block.rows);
    EXPECT_GE(work.workspace_bytes, 2 * sizeof(float) * static_cast<std::size_t>(at.floats));
  }
}

// Sizing partial results per query head instead of per row, or per capacity, takes hundreds of MB.
TEST(AttentionPlan, WorkspaceStaysSmall) {
  EXPECT_LT(work_of(problem(AttentionMode::kDecode, 32, 8, 1, 1, 131072), 16).workspace_bytes,
            4u << 20);
  EXPECT_LT(work_of(problem(AttentionMode::kPrefill, 32, 8, 1, 4096, 131072), 2).workspace_bytes,
            2u << 20);
}

TEST(AttentionPlan, EmptyCallsNeedNoBlocks) {
  EXPECT_EQ(work_of(problem(AttentionMode::kChunkedPrefill, 8, 2, 1, 0, 64), 2).row_blocks, 0);
  EXPECT_EQ(work_of(problem(AttentionMode::kDecode, 8, 2, 0, 1, 64), 2).key_splits, 1);
}

TEST(AttentionPlan, UnsupportedHeadSizeIsRefusedWithAReason) {
  AttentionProblem p = problem(AttentionMode::kDecode, 8, 2, 1, 1, 64);
  p.attributes.head_size = 72;
  p.rotary_width = 72;
  const Result<CpuAttentionPlan> planned = plan(p, CpuDevice{});
  ASSERT_FALSE(planned.ok());
  EXPECT_EQ(planned.status().code(), StatusCode::kUnsupported);
  EXPECT_EQ(planned.status().message(),
            "attention: attribute head_size is 72, expected a multiple of 16 up to 512 on the CPU");
}

TEST(AttentionPlan, TheForcedTierRuns) {
  const CpuTier best = cpu_device(1)->tier;
  for (CpuTier tier : {CpuTier::kGeneric, CpuTier::kAvx2, CpuTier::kAvx512}) {
    ASSERT_EQ(setenv("DOVETAIL_CPU", name_of(tier), 1), 0);
    const Result<CpuDevice> device = cpu_device(1);
    if (tier <= best) {
      ASSERT_TRUE(device.ok()) << device.status().message();
      const auto planned = plan(problem(AttentionMode::kDecode, 8, 2, 1, 1, 64), *device);
      ASSERT_TRUE(planned.ok());
      EXPECT_NE(planned->describe().find(std::string(" on ") + name_of(tier) + ","),
                std::string::npos)
          << planned->describe();
    } else {
      EXPECT_FALSE(device.ok());
    }
  }
  unsetenv("DOVETAIL_CPU");
}

}  // namespace
}  // namespace dovetail
