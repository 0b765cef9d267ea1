// SPDX-License-Identifier: Apache-2.0
// The int4 GEMM kernels, run on the SIMT host model: every case of conformance/int4_gemm_cases.h
// from both weight layouts, on devices of different sizes (so with different splits of K) and block
// orders. The model itself reports races, reads of unwritten memory and strays; poison is in every
// output and workspace.
#include <gtest/gtest.h>

#include <cstring>
#include <optional>

#include "conformance/int4_gemm_instance.h"
#include "cuda/device_memory.h"
#include "cuda/int4_gemm_plan.h"

namespace dovetail {
namespace {

using conformance::Int4GemmCase;
using conformance::Int4GemmData;
using conformance::Int4GemmInstance;
using conformance::kInt4GemmCases;
using test_support::DeviceBuffer;
using Bytes = std::vector<std::byte>;

constexpr CudaDevice kA100{
    .compute_capability = 80, .multiprocessors = 108, .shared_memory_bytes = 163 * 1024};
constexpr CudaDevice kH100{
    .compute_capability = 90, .multiprocessors = 132, .shared_memory_bytes = 227 * 1024};
constexpr CudaDevice kOneMultiprocessor{
    .compute_capability = 86, .multiprocessors = 1, .shared_memory_bytes = 99 * 1024};

DeviceBuffer<std::byte> on_device(const void* data, std::int64_t bytes) {
  const auto* at = static_cast<const std::byte*>(data);
  return DeviceBuffer<std::byte>(std::span(at, data == nullptr ? 0 : static_cast<size_t>(bytes)));
}

// Runs twice on one workspace; the result, or a sentence.
std::string run(Int4GemmInstance& instance, const cuda::Int4GemmSchedule& schedule, Bytes& result) {
  const Int4GemmProblem& p = instance.problem();
  const Int4GemmBuffers host = instance.buffers();
  const auto element = static_cast<std::int64_t>(size_of(p.activation_type));
  const std::int64_t n = p.attributes.gemm_n, groups = scales_shape(p.attributes).count();
  const auto activations = on_device(host.activations, p.m * p.attributes.gemm_k * element);
  const auto weights = on_device(host.weights, weights_shape(p.attributes).count());
  const auto scales =
      on_device(host.scales, groups * static_cast<std::int64_t>(size_of(p.scale_type)));
  const auto zero_points = on_device(host.zero_points, groups);
  const auto bias = on_device(host.bias, n * element);
  DeviceBuffer<std::byte> workspace(schedule.workspace_bytes);
  const Status prepared = cuda::prepare_int4_gemm(schedule);
  if (!prepared.ok()) return prepared.message();
  for (int round = 0; round < 2; ++round) {
    DeviceBuffer<std::byte> output(static_cast<size_t>(p.m * p.attributes.width() * element));
    const Status status =
        cuda::run_int4_gemm(schedule,
                            {.activations = activations.data(),
                             .weights = weights.data(),
                             .scales = scales.data(),
                             .zero_points = zero_points.size() ? zero_points.data() : nullptr,
                             .bias = bias.size() ? bias.data() : nullptr,
                             .output = output.data(),
                             .workspace = workspace.data()},
                            nullptr);
    if (!status.ok()) return status.message();
    const Bytes got = output.read();
    if (round == 1 && got != result) return "the second run on one workspace gives another result";
    result = got;
  }
  return "";
}

std::string run(Int4GemmInstance& instance, const CudaDevice& device, Bytes& result,
                int* splits = nullptr, std::optional<cuda::Int4GemmKernel> only = {}) {
  const auto schedule = cuda::schedule_int4_gemm(instance.problem(), device, only);
  if (!schedule.ok()) return schedule.status().message();
  if (splits != nullptr) *splits = schedule->splits;
  return run(instance, *schedule, result);
}

// wgmma multiplies weights that were rounded to the activations' type.
conformance::Int4GemmPrecision precision_of(cuda::Int4GemmKernel kernel, const Int4GemmCase& c) {
  conformance::Int4GemmPrecision precision;
  if (kernel == cuda::Int4GemmKernel::kMiddleRows || kernel == cuda::Int4GemmKernel::kWarpgroup)
    precision.weight_type = c.activation_type;
  return precision;
}

class Int4GemmOnCuda : public testing::TestWithParam<Int4GemmCase> {
 protected:
  void TearDown() override { test_support::set_block_order(0); }
};

TEST_P(Int4GemmOnCuda, IsRightFromBothLayouts) {
  Int4GemmInstance cuda_v1(GetParam(), WeightLayout::kCudaV1);
  Int4GemmInstance edgellm_v1(GetParam(), WeightLayout::kEdgeLlmV1);
  Bytes result, swizzled;
  ASSERT_EQ(run(cuda_v1, kH100, result), "");
  const auto kernel = cuda::schedule_int4_gemm(cuda_v1.problem(), kH100)->kernel;
  EXPECT_EQ(cuda_v1.judge(precision_of(kernel, GetParam()), result.data()), "");
  test_support::set_block_order(3);
  ASSERT_EQ(run(edgellm_v1, kH100, swizzled), "");
  if (kernel == cuda::Int4GemmKernel::kFewRows) {  // sums in another order
    EXPECT_EQ(edgellm_v1.judge({}, swizzled.data()), "");
  } else {
    EXPECT_TRUE(result == swizzled) << "the result depends on the weight layout or the block order";
  }
}

INSTANTIATE_TEST_SUITE_P(Table, Int4GemmOnCuda, testing::ValuesIn(kInt4GemmCases));

// Small cases on every tile of every kernel, with K whole and split, in three types.
TEST(Int4GemmSplits, AnySplitOfKIsRight) {
  int with_splits = 0, without = 0, few_rows = 0;
  for (const std::int64_t m : {1, 7, 13, 19, 50, 130}) {
    for (const DataType type : {DataType::kFloat16, DataType::kBFloat16, DataType::kFloat32}) {
      const bool is_few = m < 17 && type != DataType::kFloat32;
      const Int4GemmCase c{"splits", m,    is_few ? 128 : 72,  is_few ? 1280 : 800, 32, type, type,
                           true,     true, Int4GemmData::kBell};
      Int4GemmInstance instance(c, WeightLayout::kCudaV1);
      for (const CudaDevice& device : {kOneMultiprocessor, kA100}) {
        for (const int order : {0, 1}) {
          SCOPED_TRACE(testing::Message() << c << ", multiprocessors " << device.multiprocessors);
          test_support::set_block_order(order);
          Bytes result;
          int splits = 0;
          ASSERT_EQ(run(instance, device, result, &splits), "");
          EXPECT_EQ(instance.judge({}, result.data()), "");
          (is_few ? few_rows : splits > 1 ? with_splits : without) += 1;
        }
      }
    }
  }
  test_support::set_block_order(0);
  EXPECT_GT(with_splits, 0);
  EXPECT_GT(without, 0);
  EXPECT_GT(few_rows, 0);
}

// The same problem on each kernel that takes it.
TEST(Int4GemmSplits, EveryKernelIsRight) {
  int kernels = 0;
  for (const std::int64_t m : {3, 16, 70}) {
    const Int4GemmCase c{
        "kernels",          m, 64, 384, 128, DataType::kFloat16, DataType::kFloat16, true, false,
        Int4GemmData::kBell};
    for (const WeightLayout layout : {WeightLayout::kCudaV1, WeightLayout::kEdgeLlmV1}) {
      Int4GemmInstance instance(c, layout);
      for (const auto kernel :
           {cuda::Int4GemmKernel::kRowTiles, cuda::Int4GemmKernel::kFewRows,
            cuda::Int4GemmKernel::kMiddleRows, cuda::Int4GemmKernel::kWarpgroup}) {
        if (!cuda::schedule_int4_gemm(instance.problem(), kH100, kernel).ok()) continue;
        SCOPED_TRACE(testing::Message() << c << " kernel " << static_cast<int>(kernel));
        Bytes result;
        ASSERT_EQ(run(instance, kH100, result, nullptr, kernel), "");
        EXPECT_EQ(instance.judge(precision_of(kernel, c), result.data()), "");
        ++kernels;
      }
    }
  }
  EXPECT_GE(kernels, 14);
}

// Every tile of the wgmma kernel with shares left over for a second and third turn of its blocks: K
// split in pieces of unequal length, the last one not a whole stage; ragged M; N that ends in a tile,
// and once in the middle of 16 bytes.
TEST(Int4GemmWarpgroup, EveryTileIsRight) {
  for (int tile = 0; tile < cuda::kInt4GemmWarpgroupTileCount; ++tile) {
    const cuda::Int4GemmWarpgroupTile& t = cuda::kInt4GemmWarpgroupTiles[tile];
    for (const bool is_plain : {true, false}) {
      const DataType type = tile % 2 == 0 ? DataType::kFloat16 : DataType::kBFloat16;
      const int n = t.columns() + (is_plain ? 24 : 21), group = is_plain ? 64 : 32;
      const int k = t.slabs * cuda::kSlab * (t.stages + 2) - (is_plain ? 64 : 32);
      const Int4GemmCase c{"tile", t.tokens + 3, n,         k,        group,
                           type,   type,         !is_plain, is_plain, Int4GemmData::kBell};
      for (const WeightLayout layout : {WeightLayout::kCudaV1, WeightLayout::kEdgeLlmV1}) {
        Int4GemmInstance instance(c, layout);
        auto s =
            *cuda::schedule_int4_gemm(instance.problem(), kH100, cuda::Int4GemmKernel::kWarpgroup);
        s.tile = tile, s.splits = 2, s.blocks_m = 2, s.blocks_n = 2, s.grid = 3;
        s.slabs_per_split = t.slabs * (t.stages + 1);
        s.shared_bytes = cuda::int4_gemm_warpgroup_shared_bytes(t, is_plain);
        s.workspace_bytes = static_cast<size_t>(2 * c.m * n) * sizeof(float);
        SCOPED_TRACE(testing::Message() << describe(s));
        Bytes result;
        ASSERT_EQ(run(instance, s, result), "");
        EXPECT_EQ(instance.judge(precision_of(s.kernel, c), result.data()), "");
      }
    }
  }
}

// Every tile of the kernel for middle rows, K whole and split: warpgroups with shares of unequal length
// in which the activations' ring goes round, the last one not a whole stage; ragged M; N that ends in
// a tile, and once in the middle of 16 bytes.
TEST(Int4GemmMiddleRows, EveryTileIsRight) {
  for (int tile = 0; tile < cuda::kInt4GemmMiddleRowsTileCount; ++tile) {
    const cuda::Int4GemmMiddleRowsTile& t = cuda::kInt4GemmMiddleRowsTiles[tile];
    for (const bool is_plain : {true, false}) {
      const DataType type = tile % 2 == 0 ? DataType::kFloat16 : DataType::kBFloat16;
      const int n = t.columns() + (is_plain ? 24 : 21), group = is_plain ? 64 : 32;
      const int k = 2 * cuda::kSlab * (2 * t.slots() + 5) - (is_plain ? 64 : 32);
      const Int4GemmCase c{"tile", t.tokens - 3, n,         k,        group,
                           type,   type,         !is_plain, is_plain, Int4GemmData::kBell};
      for (const WeightLayout layout : {WeightLayout::kCudaV1, WeightLayout::kEdgeLlmV1}) {
        Int4GemmInstance instance(c, layout);
        auto s =
            *cuda::schedule_int4_gemm(instance.problem(), kH100, cuda::Int4GemmKernel::kMiddleRows);
        const int splits = is_plain == (layout == WeightLayout::kCudaV1) ? 1 : 3;
        s.tile = tile, s.splits = splits, s.blocks_m = 1, s.blocks_n = 2, s.grid = 2 * splits;
        s.slabs_per_split = (s.slabs / splits + 3) / 2 * 2;
        s.shared_bytes = cuda::int4_gemm_middle_rows_shared_bytes(t, is_plain);
        s.workspace_bytes = splits == 1 ? 0 : static_cast<size_t>(splits * c.m * n) * sizeof(float);
        SCOPED_TRACE(testing::Message() << describe(s));
        Bytes result;
        ASSERT_EQ(run(instance, s, result), "");
        EXPECT_EQ(instance.judge(precision_of(s.kernel, c), result.data()), "");
      }
    }
  }
}

TEST(Int4GemmRun, NamesABadPointer) {
  const Int4GemmCase c{
      "pointers",         1, 16, 32, 32, DataType::kFloat16, DataType::kFloat16, false, false,
      Int4GemmData::kBell};
  Int4GemmInstance instance(c, WeightLayout::kCudaV1);
  const auto schedule = cuda::schedule_int4_gemm(instance.problem(), kA100);
  ASSERT_TRUE(schedule.ok());
  Int4GemmBuffers buffers{.activations = reinterpret_cast<void*>(64), .weights = nullptr};
  EXPECT_EQ(cuda::run_int4_gemm(*schedule, buffers, nullptr).message(),
            "int4_gemm: weights is null");
  buffers.weights = reinterpret_cast<void*>(72);
  EXPECT_EQ(cuda::run_int4_gemm(*schedule, buffers, nullptr).message(),
            "int4_gemm: weights is at 0x48, expected a multiple of 16");
}

}  // namespace
}  // namespace dovetail
