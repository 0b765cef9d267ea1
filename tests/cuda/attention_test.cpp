// SPDX-License-Identifier: Apache-2.0
// The attention kernels, run on the SIMT host model or (DOVETAIL_ON_GPU) on a GPU: every case of
// conformance/attention_cases.h in the types that CUDA serves, on the model cut down where size
// alone is the point. Each case runs twice on one
// workspace, in two orders of blocks and threads, on a device that changes from case to case (and
// with it the splits). The model itself reports races, reads of unwritten memory and strays; poison
// is in output, workspace, unused cache slots and padding rows.
#include <gtest/gtest.h>

#include <memory>

#include "cuda/attention_on_device.h"
#if defined(DOVETAIL_SIMT_HOST)
#include "cuda/attention_output.cuh"
#endif

namespace dovetail::test_support {
namespace {

// Types that CUDA has no kernel for are replaced; long prompts, long caches and many heads
// shortened.
AttentionCase for_cuda(AttentionCase c, std::size_t index) {
  if (c.activation == DataType::kFloat32) {
    c.activation = index % 2 == 0 ? DataType::kFloat16 : DataType::kBFloat16;
  }
  if (c.cache != DataType::kFloat8E4M3) c.cache = c.activation;
  if (kOnGpu) return c;
  const std::int64_t group = c.q_heads / c.kv_heads;
  c.kv_heads = std::min<std::int64_t>(c.kv_heads, 2);
  c.q_heads = group * c.kv_heads;
  if (c.tokens > 150 && c.capacity > 600) c.tokens = 150;
  if (c.capacity > 600 && c.histories != std::vector<std::int64_t>{8190}) c.capacity = 600;
  for (std::int64_t& history : c.histories) history = std::min(history, c.capacity - c.tokens);
  return c;
}

std::vector<AttentionCase> cases() {
  std::vector<AttentionCase> list;
  for (AttentionCase c : attention_cases()) list.push_back(for_cuda(std::move(c), list.size()));
  // Beyond the table: a tree of 128 tokens, one row block and two.
  for (const std::int64_t group : {1, 2}) {
    list.push_back({.name = "tree_128_" + std::to_string(group),
                    .reason = "widest tree",
                    .mode = AttentionMode::kTreeDecode,
                    .q_heads = group,
                    .kv_heads = 1,
                    .d = group == 1 ? 128 : 64,
                    .capacity = 400,
                    .tokens = 128,
                    .histories = {261},
                    .mask = MaskKind::kTree,
                    .tree_padding = 9});
  }
  return list;
}

class AttentionOnHostModel : public testing::TestWithParam<AttentionCase> {
 protected:
  void TearDown() override { set_block_order(0); }
};

// Twice on one workspace, in two orders: the output and the cache are right and the same.
void run_twice(const AttentionCase& c, const AttentionData& data, const CudaDevice& on,
               std::uint64_t seed) {
  const auto schedule = cuda::schedule_attention(data.problem, on);
  ASSERT_TRUE(schedule.ok()) << schedule.status().message();
  SCOPED_TRACE(describe(*schedule));
  DeviceCall on_device(c, data, schedule->workspace.bytes);
  const Bytes first = attend(*schedule, on_device, data, 0);
  const Bytes cache = on_device.cache.read();
  ASSERT_EQ(check_cache(c, data, cache), "");
  ASSERT_EQ(check_output(c, data, cache, first.data()), "");
  const Bytes second = attend(*schedule, on_device, data, seed / 4 % 2 == 0 ? 1 : 7);
  EXPECT_EQ(first, second) << "the second run, on a used workspace, differs";
  EXPECT_EQ(cache, on_device.cache.read());
}

TEST_P(AttentionOnHostModel, AgreesWithTheReference) {
  const AttentionCase& c = GetParam();
  SCOPED_TRACE(c.reason);
  const AttentionData data = make_attention_data(c);
  const CudaDevice devices[] = {device(132, 227, 90), device(1, 99, 86), device(14, 163, 87),
                                device(188, 99, 120)};
  const auto seed = seed_of(c);
  run_twice(c, data, devices[seed % 4], seed);
  // Where Hopper has kernels of its own they run too, besides those of every architecture.
  const auto hopper = cuda::schedule_attention(data.problem, devices[0]);
  if (seed % 4 != 0 && hopper.ok() && hopper->wgmma >= 0) run_twice(c, data, devices[0], seed);
  if (seed % 4 == 0 && hopper.ok() && hopper->wgmma >= 0) run_twice(c, data, devices[2], seed);
}

INSTANTIATE_TEST_SUITE_P(Cases, AttentionOnHostModel, testing::ValuesIn(cases()),
                         [](const auto& instance) { return instance.param.name; });

// Prompts beyond the table, for the wgmma kernels and for warps of 32 rows: several stages of 128
// keys, a past, ragged lanes, both head sizes, groups that do not divide 64, both orders of blocks.
TEST(AttentionPrompts, AgreeWithTheReferenceThroughWgmmaAndWideWarps) {
  const AttentionCase prompts[] = {
      {.name = "wgmma_128",
       .mode = AttentionMode::kPrefill,
       .q_heads = 4,
       .kv_heads = 1,
       .d = 128,
       .capacity = 600,
       .tokens = 200},
      {.name = "wgmma_64_bf16",
       .mode = AttentionMode::kPrefill,
       .q_heads = 7,
       .kv_heads = 1,
       .d = 64,
       .capacity = 600,
       .tokens = 110,
       .activation = DataType::kBFloat16,
       .cache = DataType::kBFloat16},
      {.name = "wgmma_chunk",
       .mode = AttentionMode::kChunkedPrefill,
       .batch = 2,
       .q_heads = 3,
       .kv_heads = 1,
       .d = 128,
       .capacity = 900,
       .tokens = 100,
       .histories = {700, 33}},
      {.name = "eight_heads",
       .mode = AttentionMode::kPrefill,
       .batch = 2,
       .q_heads = 16,
       .kv_heads = 8,
       .d = 64,
       .capacity = 200,
       .tokens = 70,
       .histories = {0, 0}},
  };
  for (const AttentionCase& c : prompts) {
    SCOPED_TRACE(c.name);
    const AttentionData data = make_attention_data(c);
    const CudaDevice hopper = device(c.kv_heads == 8 ? 132 : 2, 227, 90);
    const CudaDevice one_ampere = device(1, 163, 80);
    const auto schedule = cuda::schedule_attention(data.problem, hopper);
    ASSERT_TRUE(schedule.ok()) << schedule.status().message();
    const auto wide = cuda::schedule_attention(data.problem, one_ampere);
    ASSERT_TRUE(wide.ok()) << wide.status().message();
    if (!kOnGpu) {
      ASSERT_GE(schedule->wgmma, 0) << describe(*schedule);
      EXPECT_EQ(schedule->heads_first, c.kv_heads == 8) << describe(*schedule);
      EXPECT_EQ(cuda::kAttentionTiles[wide->tile].row_tiles, 2) << describe(*wide);
    }
    run_twice(c, data, hopper, seed_of(c));
    run_twice(c, data, one_ampere, seed_of(c));
  }
  set_block_order(0);
}

// The number of splits follows from the device; every one gives the right answer.
TEST(AttentionSplits, OnDevicesOfEverySize) {
  AttentionCase c{.name = "splits",
                  .mode = AttentionMode::kDecode,
                  .batch = 2,
                  .q_heads = 3,
                  .kv_heads = 1,
                  .d = 80,
                  .capacity = 1800,
                  .histories = {1799, 300}};
  const AttentionData data = make_attention_data(c);
  std::set<int> seen;
  for (const int multiprocessors : {1, 2, 14, 16, 48, 82, 108, 132, 148, 188}) {
    const auto schedule = cuda::schedule_attention(data.problem, device(multiprocessors, 163, 80));
    ASSERT_TRUE(schedule.ok()) << schedule.status().message();
    if (!seen.insert(schedule->splits).second) continue;
    SCOPED_TRACE(describe(*schedule));
    DeviceCall on_device(c, data, schedule->workspace.bytes);
    const Bytes output = attend(*schedule, on_device, data, 5);
    EXPECT_EQ(check_output(c, data, on_device.cache.read(), output.data()), "");
  }
  EXPECT_GE(seen.size(), 3u);
  set_block_order(0);
}

// Lengths are data: the plan cannot check them, the kernels must not follow them out of the cache.
TEST(AttentionLengths, BeyondTheCapacityAreNoWork) {
  AttentionCase c{.name = "overflow",
                  .mode = AttentionMode::kChunkedPrefill,
                  .batch = 2,
                  .capacity = 64,
                  .tokens = 8,
                  .histories = {20, 20}};
  AttentionData data = make_attention_data(c);
  const auto schedule = cuda::schedule_attention(data.problem, device(16, 163, 87));
  ASSERT_TRUE(schedule.ok());
  DeviceCall good(c, data, schedule->workspace.bytes);
  const Bytes expected = attend(*schedule, good, data, 0);
  for (const std::int32_t start : {57, 64, 1 << 30, -1}) {
    data.start_index[1] = start;
    DeviceCall bad(c, data, schedule->workspace.bytes);
    const Bytes output = attend(*schedule, bad, data, 0);
    const auto half = static_cast<std::ptrdiff_t>(output.size() / 2);
    EXPECT_TRUE(std::equal(output.begin(), output.begin() + half, expected.begin()));
    EXPECT_TRUE(std::all_of(output.begin() + half, output.end(),
                            [](std::byte b) { return b == std::byte{0}; }));
    const Bytes cache = bad.cache.read();
    const auto lane = static_cast<std::ptrdiff_t>(cache.size() / 2);
    EXPECT_TRUE(std::equal(cache.begin() + lane, cache.end(), data.cache.begin() + lane));
  }
}

// One schedule serves every length, as in a captured graph that is replayed.
TEST(AttentionLengths, ChangeBetweenRunsOfOneSchedule) {
  AttentionCase c{.name = "replay",
                  .mode = AttentionMode::kDecode,
                  .batch = 2,
                  .q_heads = 4,
                  .kv_heads = 1,
                  .capacity = 900};
  std::unique_ptr<DeviceBuffer<std::byte>> workspace;
  for (const auto& histories : {std::vector<std::int64_t>{899, 0}, {3, 640}, {256, 255}, {0, 1}}) {
    c.histories = histories;
    const AttentionData data = make_attention_data(c);
    const auto schedule = cuda::schedule_attention(data.problem, device(188, 227, 120));
    ASSERT_TRUE(schedule.ok());
    ASSERT_GT(schedule->splits, 2);
    DeviceCall on_device(c, data, schedule->workspace.bytes);
    if (workspace == nullptr) {
      workspace = std::make_unique<DeviceBuffer<std::byte>>(schedule->workspace.bytes);
    }
    on_device.call.workspace = workspace->data();
    const Bytes output = attend(*schedule, on_device, data, 1);
    const Bytes cache = on_device.cache.read();
    EXPECT_EQ(check_cache(c, data, cache), "");
    EXPECT_EQ(check_output(c, data, cache, output.data()), "");
  }
  set_block_order(0);
}

#if defined(DOVETAIL_SIMT_HOST)
// A cache beyond 2^31 elements, which no test can hold: the offsets alone.
TEST(AttentionOffsets, AreSixtyFourBit) {
  cuda::AttentionArguments p{};
  p.kv_heads = 128;
  p.head_size = 256;
  p.capacity = 1 << 20;
  EXPECT_EQ(cuda::cache_row(p, 63, 1, 127, (1 << 20) - 1),
            (((std::int64_t{63} * 2 + 1) * 128 + 127) * (1 << 20) + (1 << 20) - 1) * 256);
  cuda::RowSink sink{};
  sink.token_row = 65535 * 16384ll;
  sink.row_begin = 64;
  sink.kv_head = 7;
  sink.group = 4;
  sink.q_heads = 32;
  sink.head_size = 128;
  sink.one_token = false;
  EXPECT_EQ(sink.output_index(5), ((65535 * 16384ll + 17) * 32 + 29) * 128);
}
#endif

TEST(AttentionBuffersOnCuda, AreChecked) {
  AttentionCase c{.name = "buffers", .mode = AttentionMode::kDecode};
  const AttentionData data = make_attention_data(c);
  const auto schedule = cuda::schedule_attention(data.problem, device(16, 163, 87));
  ASSERT_TRUE(schedule.ok());
  AttentionBuffers empty;
  EXPECT_EQ(cuda::run_attention(*schedule, empty, nullptr).message(),
            "attention: qkv is null, expected a buffer in decode");
  empty.qkv = reinterpret_cast<const void*>(8);
  EXPECT_EQ(cuda::run_attention(*schedule, empty, nullptr).message(),
            "attention: qkv is at 0x8, expected a multiple of 16");
}

}  // namespace
}  // namespace dovetail::test_support
