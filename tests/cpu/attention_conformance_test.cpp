// SPDX-License-Identifier: Apache-2.0
// Every attention case on every CPU tier of this machine: right within the error budget, nothing
// beyond the buffers touched, the same bits on a second run over a used workspace, and no
// dependence on how many threads share the work.
#include <gtest/gtest.h>

#include <iostream>

#include "conformance/attention_judge.h"
#include "dovetail/cpu.h"
#include "support/guarded_buffer.h"

namespace dovetail::test_support {
namespace {

std::vector<CpuTier> tiers() {
  std::vector<CpuTier> list;
  const Result<CpuDevice> best = cpu_device(1);
  for (CpuTier tier : {CpuTier::kGeneric, CpuTier::kAvx2, CpuTier::kAvx512, CpuTier::kAmx}) {
    if (best.ok() && tier <= best->tier) {
      list.push_back(tier);
    } else {
      std::cout << "skipped: this machine has no tier " << name_of(tier) << "\n";
    }
  }
  return list;
}

struct Buffers {
  Buffers(const AttentionCase& c, const AttentionData& data, std::size_t workspace_bytes)
      : qkv(data.qkv.size(), 2),
        cache(data.cache.size(), 1),
        past(c.separate_past ? data.cache.size() : 0, 1),
        output(data.output_bytes(), 2),
        workspace(workspace_bytes, 64),
        call(data.inputs()) {
    std::copy(data.qkv.begin(), data.qkv.end(), qkv.data());
    if (c.separate_past) {
      std::copy(data.cache.begin(), data.cache.end(), past.data());
    } else {
      std::copy(data.cache.begin(), data.cache.end(), cache.data());
    }
    call.qkv = qkv.data();
    call.kv_cache = cache.data();
    call.past_kv_cache = c.separate_past ? past.data() : cache.data();
    call.output = output.data();
    call.workspace = workspace.data();
  }
  bool intact() const {
    return qkv.intact() && cache.intact() && past.intact() && output.intact() && workspace.intact();
  }

  GuardedBuffer qkv, cache, past, output, workspace;
  AttentionBuffers call;
};

class AttentionConformance : public testing::TestWithParam<AttentionCase> {};

TEST_P(AttentionConformance, EveryTier) {
  const AttentionCase& c = GetParam();
  SCOPED_TRACE(c.reason);
  const AttentionData data = make_attention_data(c);
  static ThreadPool pool(2);
  static const std::vector<CpuTier> kTiers = tiers();
  for (CpuTier tier : kTiers) {
    const Result<CpuAttentionPlan> planned = plan(data.problem, {.tier = tier, .threads = 2});
    ASSERT_TRUE(planned.ok()) << planned.status().message();
    SCOPED_TRACE(planned->describe());
    Buffers run(c, data, planned->workspace_bytes());
    const Status status = planned->run(run.call, pool.runner());
    ASSERT_TRUE(status.ok()) << status.message();
    EXPECT_TRUE(run.intact());
    EXPECT_EQ(std::memcmp(run.qkv.data(), data.qkv.data(), data.qkv.size()), 0) << "qkv changed";
    ASSERT_EQ(check_cache(c, data, run.cache.bytes()), "");
    ASSERT_EQ(check_output(c, data, run.cache.bytes(), run.output.data()), "");

    // A used workspace, a poisoned output, one thread: the same bits.
    std::vector<std::byte> first(run.output.bytes().begin(), run.output.bytes().end());
    run.output.poison();
    if (!c.separate_past) {
      std::copy(data.cache.begin(), data.cache.end(), run.cache.data());
    }
    ThreadPool one(1);
    ASSERT_TRUE(planned->run(run.call, one.runner()).ok());
    EXPECT_EQ(std::memcmp(first.data(), run.output.data(), first.size()), 0)
        << "second run differs";
  }
}

INSTANTIATE_TEST_SUITE_P(Cases, AttentionConformance, testing::ValuesIn(attention_cases()),
                         [](const auto& instance) { return instance.param.name; });

}  // namespace
}  // namespace dovetail::test_support
