// SPDX-License-Identifier: Apache-2.0
// What must hold between calls: a prompt in chunks equals the prompt at once, a ragged batch equals
// each lane alone, separate buffers equal in-place, and a call that cannot be served changes
// nothing.
#include <gtest/gtest.h>

#include "conformance/attention_judge.h"
#include "dovetail/cpu.h"

namespace dovetail::test_support {
namespace {

struct Outcome {
  Status status;
  std::vector<std::byte> cache, output;
};

Outcome run_on(const AttentionData& data, std::vector<std::byte> cache, const void* past,
               CpuTier tier, AttentionBuffers buffers) {
  const Result<CpuAttentionPlan> planned = plan(data.problem, {.tier = tier, .threads = 2});
  if (!planned.ok()) {
    return {planned.status(), {}, {}};
  }
  Outcome outcome{
      {}, std::move(cache), std::vector<std::byte>(data.output_bytes(), std::byte{0xff})};
  std::vector<std::byte> workspace(planned->workspace_bytes() + 64);
  const auto address = reinterpret_cast<std::uintptr_t>(workspace.data());
  buffers.workspace = workspace.data() + (64 - address % 64);
  buffers.kv_cache = outcome.cache.data();
  buffers.past_kv_cache = past == nullptr ? outcome.cache.data() : past;
  buffers.output = outcome.output.data();
  ThreadPool pool(2);
  outcome.status = planned->run(buffers, pool.runner());
  return outcome;
}

Outcome run_on(const AttentionData& data, CpuTier tier) {
  return run_on(data, data.cache, nullptr, tier, data.inputs());
}

class AttentionProperty : public testing::TestWithParam<CpuTier> {
 protected:
  void SetUp() override {
    if (GetParam() > cpu_device(1)->tier) {
      GTEST_SKIP() << "this machine has no tier " << name_of(GetParam());
    }
  }
};

std::size_t row_bytes(const AttentionProblem& p) {
  return static_cast<std::size_t>(p.attributes.num_q_heads * p.attributes.head_size) *
         size_of(p.activation_type);
}

// Rows [first, first + count) of one output against rows of another: equal to one unit of the type.
void expect_same_rows(const Outcome& a, std::size_t first_a, const Outcome& b, std::size_t first_b,
                      std::size_t count, const AttentionProblem& p) {
  const std::size_t bytes = row_bytes(p);
  const auto values = [&](const Outcome& o, std::size_t first) {
    return load_values(o.output.data() + first * bytes, p.activation_type,
                       count * bytes / size_of(p.activation_type));
  };
  const auto x = values(a, first_a);
  const auto y = values(b, first_b);
  for (std::size_t i = 0; i < x.size(); ++i) {
    ASSERT_LE(std::abs(x[i] - y[i]),
              2 * half_unit(std::max(std::abs(x[i]), std::abs(y[i])), p.activation_type))
        << "element " << i << ": " << x[i] << " and " << y[i];
  }
}

TEST_P(AttentionProperty, ChunksEqualTheWholePrompt) {
  AttentionCase c{.name = "chunks",
                  .mode = AttentionMode::kPrefill,
                  .q_heads = 8,
                  .kv_heads = 2,
                  .d = 64,
                  .capacity = 160,
                  .tokens = 150};
  const AttentionData whole = make_attention_data(c);
  const Outcome expected = run_on(whole, GetParam());
  ASSERT_TRUE(expected.status.ok());
  std::vector<std::byte> cache = whole.cache;
  std::int64_t done = 0;
  for (std::int64_t chunk : {64, 1, 3, 41, 2, 39}) {
    AttentionData part = whole;
    part.problem.mode = chunk == 1 ? AttentionMode::kDecode : AttentionMode::kChunkedPrefill;
    part.problem.tokens = chunk;
    const std::size_t token = whole.qkv.size() / static_cast<std::size_t>(c.tokens);
    const auto begin = whole.qkv.begin() + static_cast<std::ptrdiff_t>(token) * done;
    part.qkv.assign(begin, begin + static_cast<std::ptrdiff_t>(token) * chunk);
    part.context_lengths = {static_cast<std::int32_t>(chunk)};
    part.start_index = {static_cast<std::int32_t>(done)};
    Outcome got = run_on(part, cache, nullptr, GetParam(), part.inputs());
    ASSERT_TRUE(got.status.ok()) << got.status.message();
    expect_same_rows(got, 0, expected, static_cast<std::size_t>(done),
                     static_cast<std::size_t>(chunk), whole.problem);
    cache = got.cache;
    done += chunk;
  }
  EXPECT_EQ(cache, expected.cache);
}

TEST_P(AttentionProperty, RaggedBatchEqualsEachLaneAlone) {
  AttentionCase c{.name = "lanes",
                  .mode = AttentionMode::kChunkedPrefill,
                  .batch = 3,
                  .q_heads = 6,
                  .kv_heads = 2,
                  .d = 32,
                  .capacity = 700,
                  .tokens = 30,
                  .histories = {600, 0, 77},
                  .lengths = {30, 7, 1}};
  const AttentionData batch = make_attention_data(c);
  const Outcome together = run_on(batch, GetParam());
  ASSERT_TRUE(together.status.ok());
  for (std::size_t lane = 0; lane < 3; ++lane) {
    AttentionData one = batch;
    one.problem.batch = 1;
    const auto slice = [&](const std::vector<std::byte>& all) {
      const auto size = static_cast<std::ptrdiff_t>(all.size() / 3);
      const auto begin = all.begin() + size * static_cast<std::ptrdiff_t>(lane);
      return std::vector<std::byte>(begin, begin + size);
    };
    one.qkv = slice(batch.qkv);
    one.cache = slice(batch.cache);
    one.context_lengths = {batch.context_lengths[lane]};
    one.start_index = {batch.start_index[lane]};
    const Outcome alone = run_on(one, GetParam());
    ASSERT_TRUE(alone.status.ok());
    EXPECT_EQ(alone.cache, slice(together.cache));
    expect_same_rows(alone, 0, together, lane * 30, 30, batch.problem);
  }
}

TEST_P(AttentionProperty, SeparateBuffersEqualInPlace) {
  AttentionCase c{.name = "separate",
                  .mode = AttentionMode::kChunkedPrefill,
                  .batch = 2,
                  .d = 80,
                  .capacity = 90,
                  .tokens = 11};
  const AttentionData data = make_attention_data(c);
  const Outcome in_place = run_on(data, GetParam());
  const std::vector<std::byte> garbage(data.cache.size(), std::byte{0xff});
  const std::vector<std::byte> past = data.cache;
  const Outcome separate = run_on(data, garbage, past.data(), GetParam(), data.inputs());
  ASSERT_TRUE(separate.status.ok());
  EXPECT_EQ(in_place.output, separate.output);
  EXPECT_EQ(past, data.cache) << "the past changed";
}

TEST_P(AttentionProperty, LengthBeyondTheCapacityNamesTheLaneAndWritesNothing) {
  AttentionCase c{.name = "overflow",
                  .mode = AttentionMode::kChunkedPrefill,
                  .batch = 3,
                  .capacity = 40,
                  .tokens = 10,
                  .histories = {5, 30, 0}};
  AttentionData data = make_attention_data(c);
  data.start_index[1] = 31;
  const Outcome outcome = run_on(data, GetParam());
  EXPECT_EQ(outcome.status.code(), StatusCode::kResource);
  EXPECT_EQ(outcome.status.message(),
            "attention: lane 1 holds 31 tokens and brings 10 (chunked prefill, context length 10), "
            "expected to fit the capacity C = 40");
  EXPECT_EQ(outcome.cache, data.cache);
  EXPECT_EQ(outcome.output, std::vector<std::byte>(data.output_bytes(), std::byte{0xff}));
}

TEST_P(AttentionProperty, BadDataIsRefusedByName) {
  AttentionCase c{.name = "bad",
                  .mode = AttentionMode::kTreeDecode,
                  .capacity = 40,
                  .tokens = 6,
                  .cache = DataType::kFloat8E4M3};
  const AttentionData good = make_attention_data(c);
  ASSERT_TRUE(run_on(good, GetParam()).status.ok());
  AttentionData data = good;
  data.position_ids[2] = 40;
  EXPECT_EQ(run_on(data, GetParam()).status.message(),
            "attention: attention_pos_id[0, 2] is 40, expected -1 (padding) or a row of the RoPE "
            "table, 0 to 39");
  data = good;
  data.context_lengths[0] = 5;  // a tree longer than the whole lane
  EXPECT_NE(run_on(data, GetParam()).status.message().find("lane 0"), std::string::npos);
  data = good;
  data.kv_scales[1] = 0;
  EXPECT_EQ(run_on(data, GetParam()).status.message(),
            "attention: kv_scales[1] is 0, expected a positive finite number");
  data = good;
  data.mask.clear();
  EXPECT_EQ(run_on(data, GetParam()).status.message(),
            "attention: attention_mask is null, expected a buffer in tree decode");
}

TEST_P(AttentionProperty, EmptyCallsSucceed) {
  AttentionCase c{
      .name = "empty", .mode = AttentionMode::kChunkedPrefill, .capacity = 40, .tokens = 0};
  EXPECT_TRUE(run_on(make_attention_data(c), GetParam()).status.ok());
}

// The judge has to notice each of these.
TEST(AttentionJudge, NoticesDamage) {
  AttentionCase c{.name = "judge",
                  .mode = AttentionMode::kChunkedPrefill,
                  .batch = 2,
                  .capacity = 60,
                  .tokens = 9,
                  .histories = {20, 33},
                  .lengths = {9, 4}};
  const AttentionData data = make_attention_data(c);
  const Outcome good = run_on(data, CpuTier::kGeneric);
  ASSERT_TRUE(good.status.ok());
  const auto verdict = [&](const std::vector<std::byte>& output) {
    return check_output(c, data, good.cache, output.data());
  };
  ASSERT_EQ(verdict(good.output), "");
  ASSERT_EQ(check_cache(c, data, good.cache), "");
  const std::size_t row = row_bytes(data.problem);
  auto damaged = good.output;
  store_value(damaged.data(), c.activation, 17, 0.0);
  EXPECT_NE(verdict(damaged), "") << "a zeroed element";
  damaged = good.output;
  store_value(damaged.data(), c.activation, 17, NAN);
  EXPECT_NE(verdict(damaged), "") << "NaN";
  damaged = good.output;
  std::copy_n(good.output.begin(), row, damaged.begin() + static_cast<std::ptrdiff_t>(row));
  EXPECT_NE(verdict(damaged), "") << "a shifted row";
  damaged = good.output;
  store_value(damaged.data() + 17 * row, c.activation, 3, 1e-4);
  EXPECT_NE(verdict(damaged), "") << "a padding row that is not zero";
  auto cache = good.cache;
  cache[5] ^= std::byte{1};
  EXPECT_NE(check_cache(c, data, cache), "") << "a flipped bit in the past";
  const auto last = static_cast<std::size_t>((20 + 8) * c.d) * size_of(c.cache);
  cache = good.cache;
  store_value(cache.data() + last, c.cache, 0, 2.0);
  EXPECT_NE(check_cache(c, data, cache), "") << "a wrong K";
}

INSTANTIATE_TEST_SUITE_P(Tiers, AttentionProperty,
                         testing::Values(CpuTier::kGeneric, CpuTier::kAvx2, CpuTier::kAvx512),
                         [](const auto& instance) { return name_of(instance.param); });

}  // namespace
}  // namespace dovetail::test_support
