// SPDX-License-Identifier: Apache-2.0
// The ResidualRMSNorm kernel on the SIMT host model or (DOVETAIL_ON_GPU) on a GPU, beside fp64. The
// model reports strays, races and reads of unwritten memory; outputs are poison before the call.
#include <gtest/gtest.h>

#include "conformance/residual_norm_cases.h"
#include "cuda/device_memory.h"
#include "cuda/residual_norm_plan.h"

namespace dovetail {
namespace {

using namespace test_support;

constexpr CudaDevice kDevice{.compute_capability = 90};

class ResidualNormOnCuda : public testing::TestWithParam<ResidualNormCase> {};

TEST_P(ResidualNormOnCuda, AgreesWithTheReference) {
  const ResidualNormInstance instance(GetParam());
  const DataType type = instance.problem.activation_type;
  const auto schedule = cuda::schedule_residual_norm(instance.problem, kDevice);
  ASSERT_TRUE(schedule.ok()) << schedule.status().message();
  const DeviceBuffer<std::byte> x(instance.x), residual(instance.residual), weight(instance.weight);
  const DeviceBuffer<std::int64_t> rows(instance.rows);
  DeviceBuffer<std::byte> normed(instance.bytes()), sum(instance.bytes());
  const Status status = cuda::run_residual_norm(*schedule,
                                                {.x = x.data(),
                                                 .residual = residual.data(),
                                                 .weight = weight.data(),
                                                 .rows = rows.data(),
                                                 .normed = normed.data(),
                                                 .sum = sum.data()},
                                                nullptr);
  ASSERT_TRUE(status.ok()) << status.message();
  EXPECT_EQ(instance.judge(load_values(normed.read().data(), type, instance.count()),
                           load_values(sum.read().data(), type, instance.count())),
            "");
}

INSTANTIATE_TEST_SUITE_P(Table, ResidualNormOnCuda, testing::ValuesIn(residual_norm_cases()));

TEST(ResidualNormOnCuda, TheSumMayBeWrittenOverTheResidual) {
  const ResidualNormInstance instance({"", 3, 8200, DataType::kFloat16});
  const auto schedule = cuda::schedule_residual_norm(instance.problem, kDevice);
  ASSERT_TRUE(schedule.ok());
  const DeviceBuffer<std::byte> x(instance.x), weight(instance.weight);
  DeviceBuffer<std::byte> residual(instance.residual), normed(instance.bytes());
  ASSERT_TRUE(cuda::run_residual_norm(*schedule,
                                      {.x = x.data(),
                                       .residual = residual.data(),
                                       .weight = weight.data(),
                                       .normed = normed.data(),
                                       .sum = residual.data()},
                                      nullptr)
                  .ok());
  EXPECT_EQ(
      instance.judge(load_values(normed.read().data(), DataType::kFloat16, instance.count()),
                     load_values(residual.read().data(), DataType::kFloat16, instance.count())),
      "");
}

TEST(ResidualNormOnCuda, PlansAndRefusals) {
  const ResidualNormProblem problem{
      .attributes = {}, .activation_type = DataType::kFloat16, .m = 3, .hidden = 2048};
  EXPECT_EQ(cuda::schedule_residual_norm(problem, {.compute_capability = 75}).status().message(),
            "residual_norm: the device is sm_75, expected sm_80 or later");
  const auto schedule = cuda::schedule_residual_norm(problem, kDevice);
  ASSERT_TRUE(schedule.ok());
  EXPECT_EQ(cuda::describe(*schedule),
            "residual_norm: cuda, 16 bytes a thread, 256 threads, grid 3");
  EXPECT_TRUE(schedule->overlap_previous);
  EXPECT_FALSE(cuda::schedule_residual_norm(problem, {.compute_capability = 86})->overlap_previous);
  EXPECT_EQ(cuda::run_residual_norm(*schedule, {}, nullptr).message(), "residual_norm: x is null");
  const ResidualNormBuffers odd{.x = reinterpret_cast<const void*>(8)};
  EXPECT_EQ(cuda::run_residual_norm(*schedule, odd, nullptr).message(),
            "residual_norm: x is at 0x8, expected a multiple of 16");
}

}  // namespace
}  // namespace dovetail
