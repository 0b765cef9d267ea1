// SPDX-License-Identifier: Apache-2.0
// Shapes: mode and lane extents by the contract's table, and the message for each wrong tensor.
#include <gtest/gtest.h>

#include "ops/attention.h"
#include "ops/attention_lane.h"
#include "ops/int4_gemm.h"

namespace dovetail {
namespace {

constexpr DataType kF16 = DataType::kFloat16;
constexpr DataType kF32 = DataType::kFloat32;
constexpr DataType kI32 = DataType::kInt32;

// B = 2, S = 4, Hq = 8, Hk = 2, D = 64, C = 128, R = 64.
std::vector<TensorDesc> inputs(std::int64_t tokens, std::int64_t starts) {
  return {{kF16, {2, tokens, 12 * 64}},
          {kF16, {2, 2, 2, 128, 64}},
          {kI32, {2}},
          {kF32, {1, 128, 64}},
          {kI32, {starts}}};
}

AttentionAttributes attributes(int tree = 0) {
  return {.num_q_heads = 8, .num_kv_heads = 2, .head_size = 64, .enable_tree_attention = tree};
}

TEST(DescribeAttention, ModeFollowsTheContractsTable) {
  const auto mode = [](const AttentionAttributes& a, const std::vector<TensorDesc>& in) {
    const auto problem = describe_attention(a, in);
    EXPECT_TRUE(problem.ok()) << problem.status().message();
    return problem.ok() ? problem->mode : AttentionMode{};
  };
  EXPECT_EQ(mode(attributes(), inputs(4, 0)), AttentionMode::kPrefill);
  EXPECT_EQ(mode(attributes(), inputs(1, 0)), AttentionMode::kPrefill);
  EXPECT_EQ(mode(attributes(), inputs(1, 2)), AttentionMode::kDecode);
  EXPECT_EQ(mode(attributes(), inputs(4, 2)), AttentionMode::kChunkedPrefill);
  const auto tree = [](std::int64_t tokens, std::int64_t starts, std::int64_t words,
                       std::int64_t ids) {
    std::vector<TensorDesc> in = inputs(tokens, starts);
    in.push_back({kI32, {2, tokens, words}});
    in.push_back({kI32, {2, ids}});
    return in;
  };
  EXPECT_EQ(mode(attributes(1), tree(4, 0, 1, 1)), AttentionMode::kPrefill);
  EXPECT_EQ(mode(attributes(1), tree(1, 2, 1, 1)), AttentionMode::kDecode);
  EXPECT_EQ(mode(attributes(1), tree(4, 2, 1, 4)), AttentionMode::kTreeDecode);
  EXPECT_EQ(mode(attributes(1), tree(33, 2, 2, 33)), AttentionMode::kTreeDecode);
  EXPECT_EQ(mode(attributes(1), tree(4, 2, 1, 1)), AttentionMode::kChunkedPrefill);

  const auto wrong = describe_attention(attributes(1), tree(4, 2, 1, 3));
  ASSERT_FALSE(wrong.ok());
  EXPECT_EQ(wrong.status().message(),
            "attention: attention_pos_id is [2, 3], expected [B, S] (tree decode) or [B, 1] "
            "(chunked prefill) with S = 4");
  const auto narrow = describe_attention(attributes(1), tree(33, 2, 1, 33));
  ASSERT_FALSE(narrow.ok());
  EXPECT_EQ(narrow.status().message(),
            "attention: attention_mask is [2, 33, 1], expected [B, S, ceil(S/32)] = [2, 33, 2]");
}

TEST(CheckInputs, AcceptsWhatIsNotKnownYetAndRefusesWhatIsKnownToBeWrong) {
  std::vector<TensorDesc> in = {{kF16, {-1, -1, 12 * 64}},
                                {kF16, {-1, 2, 2, -1, 64}},
                                {kI32, {-1}},
                                {kF32, {-1, -1, -1}},
                                {kI32, {-1}}};
  EXPECT_TRUE(check_attention_inputs(attributes(), in).ok());
  in[3].shape = {};  // nothing known
  EXPECT_TRUE(check_attention_inputs(attributes(), in).ok());
  EXPECT_FALSE(describe_attention(attributes(), in).ok());
  in[1].shape = {-1, 2, 4, -1, 64};
  EXPECT_EQ(check_attention_inputs(attributes(), in).message(),
            "attention: kv_cache is [-1, 2, 4, -1, 64], expected [B, 2, Hk, C, D] = "
            "[-1, 2, 2, -1, 64]");

  const Int4GemmAttributes gemm{.gemm_n = 64, .gemm_k = 128, .group_size = 128};
  std::vector<TensorDesc> matrix = {
      {kF16, {-1, -1, 128}}, {DataType::kInt8, {32, 128}}, {kF16, {1, 64}}};
  EXPECT_TRUE(check_int4_gemm_inputs(gemm, matrix).ok());
  matrix[2].shape = {64, 1};
  EXPECT_EQ(check_int4_gemm_inputs(gemm, matrix).message(),
            "int4_gemm: scales is [64, 1], expected per weight_layout; edgellm_v1: [K/G, N] = "
            "[1, 64]");
}

TEST(DescribeAttention, LaneExtentFollowsTheMode) {
  const auto same = [](LaneExtent extent, std::int64_t history, std::int64_t fresh) {
    EXPECT_EQ(extent.history, history);
    EXPECT_EQ(extent.new_tokens, fresh);
  };
  same(lane_extent(AttentionMode::kPrefill, 8, 5, 0), 0, 5);
  same(lane_extent(AttentionMode::kPrefill, 8, 9, 0), 0, 8);
  same(lane_extent(AttentionMode::kChunkedPrefill, 8, 5, 100), 100, 5);
  same(lane_extent(AttentionMode::kDecode, 1, 101, 100), 100, 1);
  same(lane_extent(AttentionMode::kDecode, 1, 1, 100), 100, 1);  // rest of a chunked prefill
  same(lane_extent(AttentionMode::kDecode, 1, 1, 0), 0, 1);
  same(lane_extent(AttentionMode::kDecode, 1, 0, 0), 0, 0);
  same(lane_extent(AttentionMode::kTreeDecode, 16, 116, 100), 100, 16);
  EXPECT_FALSE(lane_extent(AttentionMode::kTreeDecode, 16, 8, 0).fits(128));
  EXPECT_TRUE(lane_extent(AttentionMode::kChunkedPrefill, 8, 8, 120).fits(128));
  EXPECT_FALSE(lane_extent(AttentionMode::kChunkedPrefill, 8, 8, 121).fits(128));
}

TEST(DescribeAttention, EveryWrongTensorIsNamed) {
  struct Case {
    std::size_t input;
    TensorDesc tensor;
    const char* message;
  };
  const Case cases[] = {
      {0,
       {kF16, {2, 4, 700}},
       "attention: qkv is [2, 4, 700], expected [B, S, (Hq+2*Hk)*D] = [2, 4, 768]"},
      {0, {kF16, {8, 768}}, "attention: qkv is [8, 768], expected [B, S, (Hq+2*Hk)*D] (rank 3)"},
      {0, {kI32, {2, 4, 768}}, "attention: qkv is int32, expected fp32, fp16, bf16"},
      {1,
       {kF16, {2, 2, 4, 128, 64}},
       "attention: kv_cache is [2, 2, 4, 128, 64], expected [B, 2, Hk, C, D] = [2, 2, 2, 128, 64]"},
      {1,
       {DataType::kFloat8E4M3, {2, 2, 2, 128, 64}},
       "attention: kv_cache is fp8_e4m3, expected fp32, fp16, bf16 with enable_fp8_kv_cache = 0"},
      {2, {kI32, {3}}, "attention: context_lengths is [3], expected [B] = [2]"},
      {3,
       {kF32, {1, 100, 64}},
       "attention: rope_rotary_cos_sin has 100 rows, expected at least the capacity C = 128"},
      {3,
       {kF32, {3, 128, 64}},
       "attention: rope_rotary_cos_sin holds 3 tables, expected 1 or B = 2"},
      {3,
       {kF32, {1, 128, 96}},
       "attention: rope_rotary_cos_sin has width 96, expected an even number from 2 to D = 64"},
      {4, {kI32, {1}}, "attention: kvcache_start_index is [1], expected [B] or [0] = [2]"},
  };
  for (const Case& c : cases) {
    std::vector<TensorDesc> in = inputs(4, 2);
    in[c.input] = c.tensor;
    const auto problem = describe_attention(attributes(), in);
    ASSERT_FALSE(problem.ok()) << c.message;
    EXPECT_EQ(problem.status().message(), c.message);
  }
  std::vector<TensorDesc> few = inputs(4, 2);
  few.pop_back();
  EXPECT_EQ(describe_attention(attributes(), few).status().message(),
            "attention: 4 inputs, expected 5 with enable_tree_attention = 0, "
            "enable_fp8_kv_cache = 0, enable_qk_norm = 0");
}

TEST(DescribeInt4Gemm, ShapesOfBothLayoutsAndTheirMessages) {
  const Int4GemmAttributes guide{.gemm_n = 100, .gemm_k = 256, .group_size = 64};
  std::vector<TensorDesc> in = {
      {kF16, {1, 3, 256}}, {DataType::kInt8, {50, 256}}, {kF16, {4, 100}}};
  const auto problem = describe_int4_gemm(guide, in);
  ASSERT_TRUE(problem.ok()) << problem.status().message();
  EXPECT_EQ(problem->m, 3);

  Int4GemmAttributes cpu = guide;
  cpu.weight_layout = WeightLayout::kCpuV1;
  EXPECT_EQ(weights_shape(cpu), (Shape{56, 256}));
  EXPECT_EQ(scales_shape(cpu), (Shape{7, 4, 16}));

  in[1].shape = {100, 128};
  EXPECT_EQ(describe_int4_gemm(guide, in).status().message(),
            "int4_gemm: weights is [100, 128], expected per weight_layout; edgellm_v1: [N/2, K] = "
            "[50, 256]");
  in[1].shape = {50, 256};
  in[0].shape = {3, 128};
  EXPECT_EQ(describe_int4_gemm(guide, in).status().message(),
            "int4_gemm: activations is [3, 128], expected [B, S, K] or [M, K] with K = gemm_k = "
            "256");
}

}  // namespace
}  // namespace dovetail
