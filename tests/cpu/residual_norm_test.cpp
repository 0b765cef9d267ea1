// SPDX-License-Identifier: Apache-2.0
// ResidualRMSNorm on the CPU beside fp64, with guard zones and poison around the outputs; its
// declaration and its refusals.
#include <gtest/gtest.h>

#include <cstring>

#include "conformance/residual_norm_cases.h"
#include "support/guarded_buffer.h"

namespace dovetail {
namespace {

using namespace test_support;

constexpr DataType kF32 = DataType::kFloat32, kF16 = DataType::kFloat16;

class ResidualNormOnCpu : public testing::TestWithParam<ResidualNormCase> {};

TEST_P(ResidualNormOnCpu, AgreesWithTheReferenceOnOneThreadAndOnThree) {
  const ResidualNormInstance instance(GetParam());
  const DataType type = instance.problem.activation_type;
  std::vector<std::byte> first;
  for (const int threads : {1, 3}) {
    GuardedBuffer normed(instance.bytes()), sum(instance.bytes());
    normed.poison();
    sum.poison();
    ThreadPool pool(threads);
    const auto planned = plan(instance.problem, CpuDevice{CpuTier::kGeneric, threads});
    ASSERT_TRUE(planned.ok()) << planned.status().message();
    const Status status = planned->run({.x = instance.x.data(),
                                        .residual = instance.residual.data(),
                                        .weight = instance.weight.data(),
                                        .rows = instance.rows.data(),
                                        .normed = normed.data(),
                                        .sum = sum.data()},
                                       pool.runner());
    ASSERT_TRUE(status.ok()) << status.message();
    EXPECT_TRUE(normed.intact() && sum.intact()) << "a write beyond the bounds of a buffer";
    EXPECT_EQ(instance.judge(load_values(normed.data(), type, instance.count()),
                             load_values(sum.data(), type, instance.count())),
              "");
    std::vector<std::byte> bits(normed.bytes().begin(), normed.bytes().end());
    EXPECT_TRUE(first.empty() || first == bits) << "three threads give other bits than one";
    first = bits;
  }
}

INSTANTIATE_TEST_SUITE_P(Table, ResidualNormOnCpu, testing::ValuesIn(residual_norm_cases()));

TEST(ResidualNorm, PlanSaysWhatItDoes) {
  const ResidualNormProblem problem{
      .attributes = {}, .activation_type = kF16, .m = 8, .hidden = 4096};
  EXPECT_EQ(plan(problem, CpuDevice{CpuTier::kGeneric, 4})->describe(),
            "residual_norm generic, M 8, H 4096, 4 tasks");
}

TEST(ResidualNorm, EveryWrongTensorIsNamed) {
  const auto message = [](std::vector<TensorDesc> tensors) {
    return describe_residual_norm({}, tensors).status().message();
  };
  const TensorDesc x{kF16, {2, 3, 64}}, weight{kF16, {64}};
  EXPECT_EQ(message({x, x, weight}), "");
  EXPECT_EQ(describe_residual_norm({}, std::vector<TensorDesc>{x, x, weight})->m, 6);
  EXPECT_EQ(message({x, x}), "residual_norm: 2 inputs, expected 3");
  EXPECT_EQ(message({{DataType::kInt8, {6, 64}}, x, weight}),
            "residual_norm: x is int8, expected fp32, fp16, bf16");
  EXPECT_EQ(message({x, {kF32, {2, 3, 64}}, weight}),
            "residual_norm: residual is fp32, expected fp16, the type of x");
  EXPECT_EQ(message({x, {kF16, {2, 3, 32}}, weight}),
            "residual_norm: residual is [2, 3, 32], expected as x = [2, 3, 64]");
  EXPECT_EQ(message({x, x, {kF16, {32}}}), "residual_norm: weight is [32], expected [H] = [64]");
  EXPECT_EQ(message({{kF16, {64}}, {kF16, {64}}, weight}),
            "residual_norm: x is [64], expected [B, S, H] or [M, H]");
  EXPECT_EQ(message({{kF16, {}}, x, weight}), "residual_norm: x is a scalar, expected a tensor");
  EXPECT_TRUE(
      check_residual_norm_inputs({}, std::vector<TensorDesc>{{kF16, {-1, -1, -1}}, x, weight})
          .ok());
  const ResidualNormAttributes some{.has_rows = 1};
  const auto message_with_rows = [&](TensorDesc rows) {
    const std::vector<TensorDesc> tensors = {x, x, weight, rows};
    return describe_residual_norm(some, tensors).status().message();
  };
  const std::vector<TensorDesc> tensors = {x, x, weight, {DataType::kInt64, {2, 5}}};
  EXPECT_EQ(describe_residual_norm(some, tensors)->m, 10);
  EXPECT_EQ(message_with_rows({DataType::kInt32, {2, 5}}),
            "residual_norm: rows is int32, expected int64");
  EXPECT_EQ(message_with_rows({DataType::kInt64, {3, 5}}),
            "residual_norm: rows is [3, 5], expected [B, L] = [2, 5]");
  EXPECT_EQ(
      parse_residual_norm_attributes(std::vector<Attribute>{{"epsilon", -1.0}}).status().message(),
      "residual_norm: attribute epsilon is -1, expected at least 0");
}

}  // namespace
}  // namespace dovetail
