// SPDX-License-Identifier: Apache-2.0
// The SwiGLU kernel on the SIMT host model or (DOVETAIL_ON_GPU) on a GPU, beside fp64: both widths
// of access, all types, the ends of the range. The model reports strays and reads of unwritten
// memory; the output is poison before the call.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <ostream>

#include "cuda/device_memory.h"
#include "cuda/swiglu_plan.h"
#include "ops/swiglu.h"
#include "support/error_budget.h"
#include "support/random.h"
#include "support/typed_values.h"

namespace dovetail {
namespace {

using namespace test_support;

constexpr CudaDevice kDevice{.compute_capability = 90};
constexpr DataType kF32 = DataType::kFloat32;
constexpr DataType kF16 = DataType::kFloat16;
constexpr DataType kBf16 = DataType::kBFloat16;

struct Case {
  const char* reason;
  std::int64_t m;
  std::int32_t width;
  DataType type;
  bool vectors;
};
std::ostream& operator<<(std::ostream& out, const Case& c) {
  return out << c.reason;
}

const Case kCases[] = {
    {"one element", 1, 1, kF32, false},
    {"one vector", 1, 4, kF32, true},
    {"a block and one vector", 3, 1028, kF32, true},
    {"a block and one element, rows of odd bytes", 3, 257, kF16, false},
    {"decode of a 1b model", 1, 8192, kF16, true},
    {"half vectors", 5, 104, kF16, true},
    {"no vectors in half, but in fp32", 5, 100, kF16, false},
    {"brain vectors", 5, 2056, kBf16, true},
    {"brain elements", 4, 300, kBf16, false},
    {"no row", 0, 8, kF32, true},
};

// [M, 2 * I] through the kernel.
std::vector<double> run(const SwigluProblem& problem, const std::vector<double>& values) {
  const auto schedule = cuda::schedule_swiglu(problem, kDevice);
  EXPECT_TRUE(schedule.ok()) << schedule.status().message();
  const std::size_t element = size_of(problem.activation_type);
  std::vector<std::byte> bytes(values.size() * element);
  store_values(bytes.data(), problem.activation_type, values);
  const DeviceBuffer<std::byte> input(bytes);
  DeviceBuffer<std::byte> output(bytes.size() / 2);
  const Status status =
      cuda::run_swiglu(*schedule, {.gate_up = input.data(), .output = output.data()}, nullptr);
  EXPECT_TRUE(status.ok()) << status.message();
  return load_values(output.read().data(), problem.activation_type, values.size() / 2);
}

class SwigluOnCuda : public testing::TestWithParam<Case> {};

TEST_P(SwigluOnCuda, AgreesWithTheReference) {
  const Case& c = GetParam();
  const SwigluProblem problem{.attributes = {c.width}, .activation_type = c.type, .m = c.m};
  EXPECT_EQ(cuda::schedule_swiglu(problem, kDevice)->vectors, c.vectors);
  Random random(7);
  std::vector<double> values(static_cast<std::size_t>(2 * c.m * c.width));
  for (double& value : values) {
    value = rounded(static_cast<double>(3 * random.bell()), c.type);
  }
  std::vector<std::byte> stored(values.size() * size_of(c.type));
  store_values(stored.data(), c.type, values);
  std::vector<double> reference(values.size() / 2);
  ASSERT_TRUE(swiglu_reference(problem, {.gate_up = stored.data()}, reference).ok());
  std::vector<double> model;  // the same math in fp32, with the library's exponential
  const auto width = static_cast<std::size_t>(c.width);
  for (std::size_t i = 0; i < reference.size(); ++i) {
    const auto gate = static_cast<float>(values[i / width * 2 * width + i % width]);
    const auto up = static_cast<float>(values[i / width * 2 * width + i % width + width]);
    const float product = gate / (1.0f + std::exp(-gate)) * up;
    model.push_back(rounded(static_cast<double>(product), c.type));
  }
  const std::vector<double> got = run(problem, values);
  EXPECT_EQ(
      check_error_budget(
          {.got = got, .model = model, .reference = reference, .magnitude = {}, .storage = c.type}),
      "");
}

INSTANTIATE_TEST_SUITE_P(Table, SwigluOnCuda, testing::ValuesIn(kCases));

// Where the exponential would overflow, vanish or does not matter.
TEST(SwigluOnCuda, EndsOfTheRange) {
  const double inf = std::numeric_limits<double>::infinity();
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const double gates[] = {0, 100, -200, 3e38, -3e38, inf, inf, nan, 1, 1e-30, -1e-30, inf};
  const double ups[] = {5, 2, 3, 0.5, 1, 2, 0, 1, nan, 2, 2, -1};
  const double expected[] = {0, 200, 0, 1.5e38, 0, inf, nan, nan, nan, 1e-30, -1e-30, -inf};
  std::vector<double> values(std::begin(gates), std::end(gates));
  values.insert(values.end(), std::begin(ups), std::end(ups));
  const auto width = static_cast<std::int32_t>(std::size(gates));
  const std::vector<double> got = run({.attributes = {width}, .m = 1}, values);
  for (std::size_t i = 0; i < got.size(); ++i) {
    const auto want = static_cast<double>(static_cast<float>(expected[i]));
    EXPECT_TRUE(std::isnan(want) ? std::isnan(got[i]) : got[i] == want)
        << "silu(" << gates[i] << ") * " << ups[i] << " is " << got[i];
  }
}

TEST(SwigluOnCuda, RefusesWhatItCannotRun) {
  const SwigluProblem problem{.attributes = {64}, .activation_type = kF16, .m = 1};
  EXPECT_EQ(cuda::schedule_swiglu(problem, {.compute_capability = 75}).status().message(),
            "swiglu: the device is sm_75, expected sm_80 or later");
  const auto schedule = cuda::schedule_swiglu(problem, kDevice);
  ASSERT_TRUE(schedule.ok());
  EXPECT_EQ(cuda::describe(*schedule), "swiglu: cuda, 16 bytes a thread, grid 1x1");
  EXPECT_EQ(cuda::run_swiglu(*schedule, {}, nullptr).message(), "swiglu: gate_up is null");
  SwigluBuffers odd{.gate_up = reinterpret_cast<const void*>(8)};
  EXPECT_EQ(cuda::run_swiglu(*schedule, odd, nullptr).message(),
            "swiglu: gate_up is at 0x8, expected a multiple of 16");
}

}  // namespace
}  // namespace dovetail
