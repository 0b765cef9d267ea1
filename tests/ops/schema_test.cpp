// SPDX-License-Identifier: Apache-2.0
// Attributes: what an engine hands over becomes a struct, or one sentence that says why not.
#include "ops/schema.h"

#include <gtest/gtest.h>

#include "ops/attention.h"
#include "ops/int4_gemm.h"

namespace dovetail {
namespace {

std::vector<Attribute> guide_attention() {
  return {{"num_q_heads", std::int64_t{32}},
          {"num_kv_heads", std::int64_t{8}},
          {"head_size", std::int64_t{128}},
          {"enable_tree_attention", std::int64_t{0}}};
}

std::vector<Attribute> guide_int4() {
  return {{"gemm_n", std::int64_t{256}},
          {"gemm_k", std::int64_t{512}},
          {"group_size", std::int64_t{128}}};
}

TEST(Attributes, GuideFieldsAloneGiveTheGuidesBehaviour) {
  const auto attention = parse_attention_attributes(guide_attention());
  ASSERT_TRUE(attention.ok()) << attention.status().message();
  EXPECT_EQ(attention->num_q_heads, 32);
  EXPECT_EQ(attention->enable_fp8_kv_cache, 0);
  EXPECT_EQ(attention->sliding_window_size, -1);
  EXPECT_FLOAT_EQ(softmax_scale(*attention), 0.088388347f);

  const auto int4 = parse_int4_gemm_attributes(guide_int4());
  ASSERT_TRUE(int4.ok()) << int4.status().message();
  EXPECT_EQ(int4->weight_layout, WeightLayout::kEdgeLlmV1);
  EXPECT_EQ(int4->has_zero_points, 0);
}

TEST(Attributes, ListingAndParsingAreInverse) {
  AttentionAttributes a{.num_q_heads = 14,
                        .num_kv_heads = 2,
                        .head_size = 64,
                        .enable_tree_attention = 1,
                        .enable_fp8_kv_cache = 1,
                        .sliding_window_size = 512,
                        .attention_scale = 0.25f,
                        .logit_softcap = 50.0f,
                        .enable_qk_norm = 1,
                        .rms_norm_eps = 1e-5f};
  const auto parsed = parse_attention_attributes(list_attributes(a));
  ASSERT_TRUE(parsed.ok()) << parsed.status().message();
  EXPECT_EQ(list_attributes(*parsed).size(), attention_schema().attributes.size());
  EXPECT_EQ(parsed->sliding_window_size, 512);
  EXPECT_EQ(parsed->rms_norm_eps, 1e-5f);

  Int4GemmAttributes g{.gemm_n = 17,
                       .gemm_k = 96,
                       .group_size = 32,
                       .has_zero_points = 1,
                       .has_bias = 1,
                       .weight_layout = WeightLayout::kCpuV1,
                       .compute_mode = ComputeMode::kInt8,
                       .swiglu = 0};
  const auto gemm = parse_int4_gemm_attributes(list_attributes(g));
  ASSERT_TRUE(gemm.ok()) << gemm.status().message();
  EXPECT_EQ(gemm->weight_layout, WeightLayout::kCpuV1);
  EXPECT_EQ(gemm->compute_mode, ComputeMode::kInt8);
  EXPECT_EQ(gemm->gemm_k, 96);
}

struct BadCase {
  const char* reason;
  std::vector<Attribute> attributes;
  const char* message;
};

TEST(Attributes, EveryMistakeIsNamed) {
  const auto with = [](std::vector<Attribute> base, Attribute extra) {
    std::erase_if(base, [&](const Attribute& a) { return a.name == extra.name; });
    base.push_back(std::move(extra));
    return base;
  };
  std::vector<Attribute> missing = guide_attention();
  missing.pop_back();
  std::vector<Attribute> twice = guide_attention();
  twice.push_back(twice.front());
  const BadCase attention[] = {
      {"missing", missing,
       "attention: attribute enable_tree_attention is missing, expected an integer"},
      {"twice", twice, "attention: attribute num_q_heads is given twice"},
      {"unknown", with(guide_attention(), {"kv_cache_capacity", std::int64_t{4}}),
       "attention: unknown attribute kv_cache_capacity, expected one of num_q_heads, num_kv_heads, "
       "head_size, enable_tree_attention, enable_fp8_kv_cache, sliding_window_size, "
       "attention_scale, logit_softcap, enable_qk_norm, rms_norm_eps"},
      {"mistyped", with(guide_attention(), {"head_size", 64.0}),
       "attention: attribute head_size is a float, expected an integer"},
      {"too small", with(guide_attention(), {"num_kv_heads", std::int64_t{0}}),
       "attention: attribute num_kv_heads is 0, expected at least 1"},
      {"beyond 32 bits", with(guide_attention(), {"num_q_heads", std::int64_t{1} << 32}),
       "attention: attribute num_q_heads is 4294967296, expected at most 2147483647"},
      {"not a multiple", with(guide_attention(), {"num_kv_heads", std::int64_t{5}}),
       "attention: num_q_heads is 32, expected a positive multiple of num_kv_heads = 5"},
      {"head size", with(guide_attention(), {"head_size", std::int64_t{260}}),
       "attention: head_size is 260, expected a multiple of 8 up to 256"},
      {"flag", with(guide_attention(), {"enable_qk_norm", std::int64_t{2}}),
       "attention: attribute enable_qk_norm is 2, expected 0 or 1"},
      {"window", with(guide_attention(), {"sliding_window_size", std::int64_t{0}}),
       "attention: attribute sliding_window_size is 0, expected -1 (off) or at least 1"},
  };
  for (const BadCase& c : attention) {
    const auto parsed = parse_attention_attributes(c.attributes);
    ASSERT_FALSE(parsed.ok()) << c.reason;
    EXPECT_EQ(parsed.status().message(), c.message);
  }
  const BadCase int4[] = {
      {"group", with(guide_int4(), {"group_size", std::int64_t{48}}),
       "int4_gemm: group_size is 48, expected 32, 64 or 128"},
      {"k", with(guide_int4(), {"gemm_k", std::int64_t{500}}),
       "int4_gemm: gemm_k is 500, expected a positive multiple of group_size = 128"},
      {"choice", with(guide_int4(), {"weight_layout", std::string("marlin")}),
       "int4_gemm: attribute weight_layout is \"marlin\", expected one of edgellm_v1, cpu_v1, "
       "cuda_v1"},
      {"odd halves",
       with(with(guide_int4(), {"gemm_n", std::int64_t{9}}), {"swiglu", std::int64_t{1}}),
       "int4_gemm: gemm_n is 9, expected an even number with swiglu = 1"},
  };
  for (const BadCase& c : int4) {
    const auto parsed = parse_int4_gemm_attributes(c.attributes);
    ASSERT_FALSE(parsed.ok()) << c.reason;
    EXPECT_EQ(parsed.status().message(), c.message);
  }
}

}  // namespace
}  // namespace dovetail
