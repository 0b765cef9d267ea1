// SPDX-License-Identifier: Apache-2.0
// No call within the bounds needs more workspace than workspace_bound says: random problems, random
// smaller calls of them on random GPUs. A planner that breaks workspace_bound.cpp's rules fails.
#include <gtest/gtest.h>

#include "dovetail/cuda.h"
#include "support/random.h"

namespace dovetail {
namespace {

using test_support::Random;

constexpr CudaDevice kGpus[] = {
    {80, 108, 163 * 1024, 40u << 20},   {86, 84, 99 * 1024, 6u << 20},
    {87, 8, 163 * 1024, 4u << 20},      {89, 142, 99 * 1024, 96u << 20},
    {89, 58, 99 * 1024, 48u << 20},     {90, 132, 227 * 1024, 50u << 20},
    {90, 114, 227 * 1024, 50u << 20},   {100, 148, 227 * 1024, 126u << 20},
    {103, 160, 227 * 1024, 126u << 20}, {110, 20, 227 * 1024, 32u << 20},
    {120, 188, 99 * 1024, 128u << 20},  {121, 48, 99 * 1024, 24u << 20},
};

const CudaDevice& pick_gpu(Random& random) {
  return kGpus[random.integer(0, std::size(kGpus) - 1)];
}

TEST(WorkspaceBound, HoldsForEverySmallerAttentionCall) {
  constexpr int kHeads[][2] = {{32, 8}, {24, 3}, {28, 4}, {8, 8}, {7, 1}, {4, 2}, {40, 8}};
  constexpr int kHeadSizes[] = {64, 80, 96, 128, 192, 256};
  int split_calls = 0;
  for (std::uint64_t seed = 0; seed < 24; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    Random random(seed);
    const auto& heads = kHeads[random.integer(0, std::size(kHeads) - 1)];
    AttentionProblem largest;
    largest.attributes = {.num_q_heads = heads[0],
                          .num_kv_heads = heads[1],
                          .head_size = kHeadSizes[random.integer(0, 5)],
                          .enable_tree_attention = static_cast<std::int32_t>(seed % 2)};
    largest.mode = AttentionMode::kChunkedPrefill;
    largest.batch = random.integer(1, 6);
    largest.tokens = random.integer(1, 1500);
    largest.capacity = random.integer(largest.tokens, 20000);
    largest.rope_rows = largest.capacity;
    largest.rotary_width = largest.attributes.head_size;
    const Result<std::size_t> bound = workspace_bound(largest);
    ASSERT_TRUE(bound.ok()) << bound.status().message();
    for (int call = 0; call < 1500; ++call) {
      AttentionProblem smaller = largest;
      smaller.batch = random.integer(1, largest.batch);
      smaller.tokens = random.integer(1, random.integer(1, largest.tokens));
      smaller.capacity = random.integer(smaller.tokens, largest.capacity);
      smaller.mode = smaller.tokens == 1 ? AttentionMode::kDecode
                     : seed % 2 == 1     ? AttentionMode::kTreeDecode
                     : call % 2 == 0     ? AttentionMode::kPrefill
                                         : AttentionMode::kChunkedPrefill;
      const auto planned = plan(smaller, pick_gpu(random));
      ASSERT_TRUE(planned.ok()) << planned.status().message();
      ASSERT_LE(planned->workspace_bytes(), *bound) << planned->describe();
      split_calls += planned->describe().find(" 1 splits") == std::string::npos;
    }
  }
  EXPECT_GT(split_calls, 1000);  // the interesting ones
}

TEST(WorkspaceBound, HoldsForEverySmallerInt4Gemm) {
  for (std::uint64_t seed = 0; seed < 24; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    Random random(seed);
    Int4GemmProblem largest;
    largest.attributes = {.gemm_n = static_cast<std::int32_t>(4 * random.integer(8, 2000)),
                          .gemm_k = static_cast<std::int32_t>(128 * random.integer(1, 100)),
                          .group_size = 128,
                          .swiglu = static_cast<std::int32_t>(seed % 2)};
    largest.m = random.integer(1, 8000);
    const Result<std::size_t> bound = workspace_bound(largest);
    ASSERT_TRUE(bound.ok()) << bound.status().message();
    for (int call = 0; call < 1500; ++call) {
      Int4GemmProblem smaller = largest;
      smaller.m = random.integer(1, random.integer(1, largest.m));
      const auto planned = plan(smaller, pick_gpu(random));
      ASSERT_TRUE(planned.ok()) << planned.status().message();
      ASSERT_LE(planned->workspace_bytes(), *bound) << planned->describe();
    }
  }
}

TEST(WorkspaceBound, SaysWhyNoGpuServesAProblem) {
  Int4GemmProblem problem{.attributes = {.gemm_n = 64, .gemm_k = 128, .group_size = 128}, .m = 1};
  problem.attributes.weight_layout = WeightLayout::kCpuV1;
  EXPECT_EQ(workspace_bound(problem).status().code(), StatusCode::kUnsupported);
}

}  // namespace
}  // namespace dovetail
