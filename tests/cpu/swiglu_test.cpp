// SPDX-License-Identifier: Apache-2.0
// SwiGLU on every CPU tier of this machine, beside fp64, with guard zones and poison around both
// buffers; on one thread and on three the bits must be the same.
#include "dovetail/swiglu.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <vector>

#include "ops/swiglu.h"
#include "support/error_budget.h"
#include "support/guarded_buffer.h"
#include "support/random.h"
#include "support/typed_values.h"

namespace dovetail {
namespace {

using namespace test_support;

constexpr CpuTier kTiers[] = {CpuTier::kGeneric, CpuTier::kAvx2, CpuTier::kAvx512};

std::vector<CpuTier> machine_tiers() {
  std::vector<CpuTier> tiers;
  for (CpuTier tier : kTiers) {
    setenv("DOVETAIL_CPU", name_of(tier), 1);
    if (cpu_device(1).ok()) {
      tiers.push_back(tier);
    } else {
      std::cout << "skipped: this machine has no tier " << name_of(tier) << "\n";
    }
  }
  unsetenv("DOVETAIL_CPU");
  return tiers;
}

struct Case {
  const char* reason;
  std::int64_t m;
  std::int32_t width;
  DataType type;
};

constexpr DataType kF32 = DataType::kFloat32;
constexpr DataType kF16 = DataType::kFloat16;
constexpr DataType kBf16 = DataType::kBFloat16;

const Case kCases[] = {
    {"one_row_of_full_vectors", 1, 64, kF32},
    {"one_element", 1, 1, kF32},
    {"less_than_a_vector", 2, 3, kF32},
    {"rest_of_one_less_than_a_vector", 3, 31, kF32},
    {"a_task_ends_inside_a_row", 7, 4099, kF32},
    {"decode_of_a_1b_model", 1, 8192, kF32},
    {"no_row", 0, 8, kF32},
    {"half", 5, 100, kF16},
    {"half_over_tasks", 3, 8192, kF16},
    {"brain", 5, 100, kBf16},
    {"brain_over_tasks", 3, 8192, kBf16},
};

struct Instance {
  SwigluProblem problem;
  GuardedBuffer input;
  GuardedBuffer output;
  std::vector<double> reference;
  std::vector<double> model;  // the same math in fp32, with the library's exponential

  explicit Instance(const Case& c)
      : problem{.attributes = {c.width}, .activation_type = c.type, .m = c.m},
        input(static_cast<std::size_t>(2 * c.m * c.width) * size_of(c.type)),
        output(static_cast<std::size_t>(c.m * c.width) * size_of(c.type)) {}

  std::size_t count() const {
    return static_cast<std::size_t>(problem.m * problem.attributes.intermediate_size);
  }

  void fill(const std::vector<double>& values) {
    store_values(input.data(), problem.activation_type, values);
    reference.resize(count());
    ASSERT_TRUE(swiglu_reference(problem, {.gate_up = input.data()}, reference).ok());
    const auto width = static_cast<std::size_t>(problem.attributes.intermediate_size);
    model.clear();
    for (std::size_t i = 0; i < count(); ++i) {
      const std::size_t at = i / width * 2 * width + i % width;
      const auto gate = static_cast<float>(load_value(input.data(), problem.activation_type, at));
      const auto up =
          static_cast<float>(load_value(input.data(), problem.activation_type, at + width));
      const float product = gate / (1.0f + std::exp(-gate)) * up;
      model.push_back(rounded(static_cast<double>(product), problem.activation_type));
    }
  }

  std::string run(CpuTier tier, ThreadPool& pool) {
    output.poison();
    const Result<CpuSwigluPlan> planned = plan(problem, {tier, pool.threads()});
    if (!planned.ok()) {
      return planned.status().message();
    }
    const Status status =
        planned->run({.gate_up = input.data(), .output = output.data()}, pool.runner());
    if (!status.ok()) {
      return status.message();
    }
    return input.intact() && output.intact() ? "" : "a write beyond the bounds of a buffer";
  }

  std::vector<double> got() const {
    return load_values(output.data(), problem.activation_type, count());
  }
};

std::vector<double> random_values(std::size_t count, std::uint64_t seed) {
  Random random(seed);
  std::vector<double> values(count);
  for (double& value : values) {
    value = static_cast<double>(3 * random.bell());
  }
  return values;
}

TEST(Swiglu, EveryCaseOnEveryTier) {
  ThreadPool one(1);
  ThreadPool three(3);
  for (const Case& c : kCases) {
    Instance instance(c);
    instance.fill(random_values(2 * instance.count(), 21));
    for (const CpuTier tier : machine_tiers()) {
      SCOPED_TRACE(testing::Message() << c.reason << ", " << name_of(tier));
      ASSERT_EQ(instance.run(tier, one), "");
      const std::vector<std::byte> first(instance.output.bytes().begin(),
                                         instance.output.bytes().end());
      EXPECT_EQ(check_error_budget({.got = instance.got(),
                                    .model = instance.model,
                                    .reference = instance.reference,
                                    .magnitude = {},
                                    .storage = c.type}),
                "");
      ASSERT_EQ(instance.run(tier, three), "");
      EXPECT_EQ(std::memcmp(first.data(), instance.output.data(), first.size()), 0)
          << "three threads give other bits than one";
    }
  }
}

// Where the exponential would overflow, vanish or does not matter.
TEST(Swiglu, EndsOfTheRange) {
  const double inf = std::numeric_limits<double>::infinity();
  const double nan = std::numeric_limits<double>::quiet_NaN();
  struct End {
    double gate, up, expected;
  };
  const End ends[] = {
      {0, 5, 0},     {100, 2, 200},     {-200, 3, 0},        {3e38, 0.5, 1.5e38},
      {-3e38, 1, 0}, {inf, 2, inf},     {inf, 0, nan},       {nan, 1, nan},
      {1, nan, nan}, {1e-30, 2, 1e-30}, {-1e-30, 2, -1e-30}, {inf, -1, -inf},
  };
  constexpr auto kCount = static_cast<std::int32_t>(std::size(ends));
  Instance instance({"ends", 1, kCount, kF32});
  std::vector<double> values;
  for (const End& end : ends) {
    values.push_back(end.gate);
  }
  for (const End& end : ends) {
    values.push_back(end.up);
  }
  store_values(instance.input.data(), kF32, values);
  ThreadPool pool(1);
  for (const CpuTier tier : machine_tiers()) {
    ASSERT_EQ(instance.run(tier, pool), "");
    const std::vector<double> got = instance.got();
    for (std::size_t i = 0; i < std::size(ends); ++i) {
      const double expected = static_cast<double>(static_cast<float>(ends[i].expected));
      EXPECT_TRUE(std::isnan(expected) ? std::isnan(got[i]) : got[i] == expected)
          << name_of(tier) << ": silu(" << ends[i].gate << ") * " << ends[i].up << " is " << got[i];
    }
  }
}

// silu(g) is g from 64 on, so a bf16 result is one product of two bf16 values, rounded: every pair of
// significands, ties among them, and what has no significand.
TEST(Swiglu, BrainResultsAreRoundedToNearestEven) {
  constexpr std::int32_t kCount = 128 * 128 + 2;
  Instance instance({"rounding", 1, kCount, kBf16});
  std::vector<double> values(2 * kCount);
  for (std::int32_t i = 0; i < kCount; ++i) {
    values[static_cast<std::size_t>(i)] = 64 + 0.5 * (i / 128);
    values[static_cast<std::size_t>(kCount + i)] = -1 - i % 128 / 128.0;
  }
  values[128 * 128] = 64;
  values[kCount - 1] = std::numeric_limits<double>::quiet_NaN();
  values[kCount + 128 * 128] = std::numeric_limits<double>::infinity();
  store_values(instance.input.data(), kBf16, values);
  ThreadPool pool(1);
  for (const CpuTier tier : machine_tiers()) {
    ASSERT_EQ(instance.run(tier, pool), "");
    const std::vector<double> got = instance.got();
    for (std::size_t i = 0; i + 1 < kCount; ++i) {
      EXPECT_EQ(got[i], rounded(values[i] * values[kCount + i], kBf16))
          << name_of(tier) << ": " << values[i] << " * " << values[kCount + i];
    }
    EXPECT_TRUE(std::isnan(got[kCount - 1])) << name_of(tier);
  }
}

// Down to the smallest sigmoid that is not flushed, the error stays within fp32's reach of the
// value itself, not of the largest one in the call.
TEST(Swiglu, SmallResultsAreAsExactAsLargeOnes) {
  Instance instance({"small", 1, 172, kF32});
  std::vector<double> values(344, 1.0);
  for (std::size_t i = 0; i < 172; ++i) {
    values[i] = -0.5 * static_cast<double>(i);
  }
  instance.fill(values);
  ThreadPool pool(1);
  for (const CpuTier tier : machine_tiers()) {
    ASSERT_EQ(instance.run(tier, pool), "");
    const std::vector<double> got = instance.got();
    for (std::size_t i = 1; i < got.size(); ++i) {
      // exp amplifies the rounding of its argument |g| * log2(e) by |g|.
      const double relative = 0x1p-24 * (std::abs(values[i]) * 2 + 8);
      EXPECT_NEAR(got[i], instance.reference[i], relative * std::abs(instance.reference[i]))
          << name_of(tier) << " at " << values[i];
    }
  }
}

TEST(Swiglu, PlanSaysWhatItDoes) {
  const Result<CpuSwigluPlan> planned =
      plan(SwigluProblem{.attributes = {8192}, .m = 1}, {CpuTier::kGeneric, 4});
  ASSERT_TRUE(planned.ok());
  EXPECT_EQ(planned->describe(), "swiglu generic, M 1, I 8192, 2 tasks");
  EXPECT_EQ(
      plan(SwigluProblem{.attributes = {0}, .m = 1}, {CpuTier::kGeneric, 1}).status().message(),
      "swiglu: intermediate_size is 0, expected 1 to 1073741823");
}

TEST(Swiglu, EveryWrongTensorIsNamed) {
  const SwigluAttributes a{100};
  const auto message = [&](TensorDesc tensor) {
    return describe_swiglu(a, std::vector<TensorDesc>{tensor}).status().message();
  };
  EXPECT_EQ(message({kF16, {2, 3, 200}}), "");
  EXPECT_EQ(describe_swiglu(a, std::vector<TensorDesc>{{kF16, {2, 3, 200}}})->m, 6);
  EXPECT_EQ(message({kF32, {6, 200}}), "");
  EXPECT_EQ(message({kF32, {6, 100}}),
            "swiglu: gate_up is [6, 100], expected [B, S, 2*I] or [M, 2*I] with 2 * "
            "intermediate_size = 200");
  EXPECT_EQ(message({DataType::kInt8, {6, 200}}),
            "swiglu: gate_up is int8, expected fp32, fp16, bf16");
  EXPECT_EQ(message({kF32, {}}), "swiglu: gate_up is a scalar, expected a tensor");
  EXPECT_EQ(describe_swiglu(a, {}).status().message(), "swiglu: 0 inputs, expected 1");
  EXPECT_TRUE(check_swiglu_inputs(a, std::vector<TensorDesc>{{kF32, {-1, -1, -1}}}).ok());
}

}  // namespace
}  // namespace dovetail
