// SPDX-License-Identifier: Apache-2.0
// Every case of conformance/int4_gemm_cases.h on every CPU tier of this machine and in both compute
// modes, with guard zones and poison around every buffer. A call must give the same bits twice on
// one workspace, on one thread and on three, and from both weight layouts.
#include "dovetail/int4_gemm.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <limits>
#include <vector>

#include "conformance/int4_gemm_instance.h"
#include "cpu/int4_gemm_plan.h"
#include "support/guarded_buffer.h"

namespace dovetail {
namespace {

using conformance::Int4GemmCase;
using conformance::Int4GemmInstance;
using conformance::kInt4GemmCases;
using test_support::GuardedBuffer;

constexpr CpuTier kTiers[] = {CpuTier::kGeneric, CpuTier::kAvx2, CpuTier::kAvx512, CpuTier::kAmx};

// DOVETAIL_CPU for one scope.
class ForcedTier {
 public:
  explicit ForcedTier(const char* name) { setenv("DOVETAIL_CPU", name, 1); }
  ~ForcedTier() { unsetenv("DOVETAIL_CPU"); }
};

std::vector<CpuTier> find_machine_tiers() {
  std::vector<CpuTier> tiers;
  for (CpuTier tier : kTiers) {
    const ForcedTier forced(name_of(tier));
    if (cpu_device(1).ok()) {
      tiers.push_back(tier);
    } else {
      std::cout << "skipped: this machine has no tier " << name_of(tier) << "\n";
    }
  }
  return tiers;
}

const std::vector<CpuTier>& machine_tiers() {
  static const std::vector<CpuTier> tiers = find_machine_tiers();
  return tiers;
}

// Runs the instance; the first sentence of what is wrong, or "".
std::string run(Int4GemmInstance& instance, ComputeMode mode, CpuDevice device, ThreadPool& pool,
                std::vector<std::byte>* result) {
  Int4GemmProblem problem = instance.problem();
  problem.attributes.compute_mode = mode;
  const Result<CpuInt4GemmPlan> planned = plan(problem, device);
  if (!planned.ok()) {
    return planned.status().message();
  }
  GuardedBuffer workspace(planned->workspace_bytes(), 64);
  Int4GemmBuffers buffers = instance.buffers();
  buffers.workspace = workspace.data();
  const auto bytes = static_cast<std::size_t>(problem.m * problem.attributes.width()) *
                     size_of(problem.activation_type);
  for (int round = 0; round < 2; ++round) {
    instance.poison_output();
    const Status status = planned->run(buffers, pool.runner());
    if (!status.ok()) {
      return status.message();
    }
    if (!workspace.intact()) {
      return "a write beyond the bounds of workspace";
    }
    const auto* output = static_cast<const std::byte*>(buffers.output);
    if (round == 1 && bytes != 0 && std::memcmp(result->data(), output, bytes) != 0) {
      return "the second run on one workspace gives another result";
    }
    result->assign(output, output + bytes);
  }
  return "";
}

class Int4GemmCaseTest : public testing::TestWithParam<Int4GemmCase> {};

TEST_P(Int4GemmCaseTest, PassesOnEveryTier) {
  ThreadPool one(1);
  ThreadPool three(3);
  Int4GemmInstance cpu_v1(GetParam(), WeightLayout::kCpuV1);
  Int4GemmInstance edgellm_v1(GetParam(), WeightLayout::kEdgeLlmV1);
  std::vector<std::byte> avx512_int8;
  for (CpuTier tier : machine_tiers()) {
    for (ComputeMode mode : {ComputeMode::kExact, ComputeMode::kInt8}) {
      SCOPED_TRACE(testing::Message() << name_of(tier) << ", " << name_of(mode));
      std::vector<std::byte> result, several, swizzled;
      ASSERT_EQ(run(cpu_v1, mode, {tier, 1}, one, &result), "");
      EXPECT_EQ(cpu_v1.judge({.mode = mode}), "");
      ASSERT_EQ(run(cpu_v1, mode, {tier, 3}, three, &several), "");
      EXPECT_TRUE(result == several) << "the result depends on the number of threads";
      ASSERT_EQ(run(edgellm_v1, mode, {tier, 3}, three, &swizzled), "");
      EXPECT_EQ(edgellm_v1.find_stray_write(), "");
      EXPECT_TRUE(result == swizzled) << "the result depends on the weight layout";
      if (tier == CpuTier::kAvx512 && mode == ComputeMode::kInt8) {
        avx512_int8 = result;
      } else if (tier == CpuTier::kAmx && mode == ComputeMode::kInt8) {
        EXPECT_TRUE(result == avx512_int8) << "tiles and VNNI differ";
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Table, Int4GemmCaseTest, testing::ValuesIn(kInt4GemmCases));

class Int4GemmTierTest : public testing::TestWithParam<CpuTier> {};

TEST_P(Int4GemmTierTest, AnUnusableRowStaysAlone) {
  const Int4GemmCase c{"NaN",
                       5,
                       40,
                       256,
                       64,
                       DataType::kFloat32,
                       DataType::kFloat32,
                       true,
                       false,
                       conformance::Int4GemmData::kBell};
  ThreadPool pool(1);
  for (ComputeMode mode : {ComputeMode::kExact, ComputeMode::kInt8}) {
    Int4GemmInstance instance(c, WeightLayout::kCpuV1);
    auto* a = static_cast<float*>(const_cast<void*>(instance.buffers().activations));
    a[3 * 256 + 100] = std::numeric_limits<float>::quiet_NaN();
    std::fill(a + 256, a + 512, 0x1p-130f);  // below what int8 keeps: counts as zero
    std::vector<std::byte> result;
    ASSERT_EQ(run(instance, mode, {GetParam(), 1}, pool, &result), "");
    const auto* y = reinterpret_cast<const float*>(result.data());
    for (int n = 0; n < 40; ++n) {
      EXPECT_TRUE(std::isnan(y[3 * 40 + n])) << name_of(mode) << " column " << n;
    }
    EXPECT_LT(std::abs(y[40]), 1e-30f);
    EXPECT_EQ(instance.judge({.mode = mode}), "");
  }
}

INSTANTIATE_TEST_SUITE_P(Tiers, Int4GemmTierTest, testing::ValuesIn(machine_tiers()),
                         [](const auto& i) { return std::string(name_of(i.param)); });

TEST(Int4Gemm, RunsTheForcedTier) {
  const Int4GemmInstance instance(kInt4GemmCases[0], WeightLayout::kCpuV1);
  for (CpuTier tier : machine_tiers()) {
    const ForcedTier forced(name_of(tier));
    const Result<CpuDevice> device = cpu_device(1);
    ASSERT_TRUE(device.ok());
    EXPECT_EQ(device->tier, tier);
    const Result<CpuInt4GemmPlan> planned = plan(instance.problem(), *device);
    ASSERT_TRUE(planned.ok());
    // The description names the function table, not the device.
    const std::string kernels = name_of(tier);
    EXPECT_EQ(planned->describe().rfind("int4_gemm: " + kernels + ",", 0), 0u)
        << planned->describe();
    EXPECT_EQ(kernels, cpu::int4_gemm_kernels(tier, instance.problem().m).tier);
  }
}

TEST(Int4Gemm, TakesAmxOnlyByName) {
  EXPECT_LE(cpu_device(1)->tier, CpuTier::kAvx512);
}

#if defined(__x86_64__)
TEST(Int4Gemm, FewRowsStayWithAvx512OnAmx) {
  for (std::int64_t m : {1, 3, 4, 512}) {
    EXPECT_STREQ(cpu::int4_gemm_kernels(CpuTier::kAmx, m).tier, m < 4 ? "avx512" : "amx") << m;
  }
}
#endif

TEST(Int4Gemm, TiersRoundActivationsToTheSameInt8) {
  // Exact integer sums and one multiplication per group: tiers differ by the order of fp32 sums
  // only, so with one group they agree bit for bit, ties of the rounding included.
  const Int4GemmCase c{"one group",
                       16,
                       32,
                       128,
                       128,
                       DataType::kFloat32,
                       DataType::kFloat32,
                       true,
                       false,
                       conformance::Int4GemmData::kBell};
  Int4GemmInstance instance(c, WeightLayout::kCpuV1);
  auto* a = static_cast<float*>(const_cast<void*>(instance.buffers().activations));
  for (int i = 0; i < 128; ++i) {
    a[i] = static_cast<float>(i - 64) * 0.5f;  // absmax 32: quotients on and near ties
    a[128 + i] = static_cast<float>(i) - 0.5f;
  }
  a[255] = 127.0f;
  ThreadPool pool(1);
  std::vector<std::byte> expected;
  ASSERT_EQ(run(instance, ComputeMode::kInt8, {CpuTier::kGeneric, 1}, pool, &expected), "");
  EXPECT_EQ(instance.judge({.mode = ComputeMode::kInt8}), "");
  for (CpuTier tier : machine_tiers()) {
    std::vector<std::byte> got;
    ASSERT_EQ(run(instance, ComputeMode::kInt8, {tier, 1}, pool, &got), "");
    EXPECT_TRUE(got == expected) << name_of(tier);
  }
}

}  // namespace
}  // namespace dovetail
