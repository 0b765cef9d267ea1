// SPDX-License-Identifier: Apache-2.0
// What the model must catch, each planted once, beside the same kernel without the bug. `line_of`
// finds the marker comment in planted.cu, so that the reported line is checked too.
#include <gtest/gtest.h>

#include <fstream>
#include <numeric>

#include "layout/narrow_float.h"
#include "simt/memory.h"
#include "simt/planted.h"

namespace dovetail::simt_test {
namespace {

using simt::Buffer;

std::string line_of(const std::string& marker) {
  std::ifstream file(DOVETAIL_SIMT_DIR "/planted.cu");
  std::string text;
  for (int line = 1; std::getline(file, text); ++line) {
    const size_t comment = text.find("//");
    if (comment != std::string::npos && text.find(marker, comment) != std::string::npos) {
      return "planted.cu:" + std::to_string(line);
    }
  }
  return "no line with " + marker;
}

std::string report_of(Bug bug) {
  const Buffer<uint32_t> in(std::vector<uint32_t>(2 * kThreads, 1));
  Buffer<uint32_t> out(2 * kThreads);
  try {
    const Status status = rotate({.bug = bug, .in = in.data(), .out = out.data()}, 2);
    return status.ok() ? "no report" : status.message();
  } catch (const simt::Error& error) {
    return error.what();
  }
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

#define EXPECT_REPORT(bug, ...)                                                \
  do {                                                                         \
    const std::string report = report_of(bug);                                 \
    for (const std::string& part : std::vector<std::string>{__VA_ARGS__}) {    \
      EXPECT_TRUE(contains(report, part)) << part << " is not in: " << report; \
    }                                                                          \
  } while (false)

class EveryOrder : public testing::TestWithParam<int> {
 protected:
  void SetUp() override {
    simt::settings().order = static_cast<simt::Order>(std::min(GetParam(), 2));
    simt::settings().seed = static_cast<uint64_t>(GetParam());
  }
  void TearDown() override { simt::settings() = {}; }
};
INSTANTIATE_TEST_SUITE_P(ForwardBackwardRandom, EveryOrder, testing::Range(0, 6));

TEST_P(EveryOrder, CorrectKernelGivesTheResult) {
  constexpr uint32_t kBlocks = 3;
  std::vector<uint32_t> values(kBlocks * kThreads);
  std::iota(values.begin(), values.end(), 100u);
  const Buffer<uint32_t> in(values);
  Buffer<uint32_t> out(values.size());
  ASSERT_TRUE(rotate({.bug = Bug::kNone, .in = in.data(), .out = out.data()}, kBlocks).ok());
  const auto result = out.read();
  for (uint32_t i = 0; i < values.size(); ++i) {
    const uint32_t expected = 100 + i / kThreads * kThreads + (i + 33) % kThreads;
    ASSERT_EQ(result[i], expected) << i;
  }
}

TEST_P(EveryOrder, DivergenceAndDeadlock) {
  EXPECT_EQ(report_of(Bug::kNone), "no report");
  EXPECT_REPORT(Bug::kDivergentBarrier, "divergent barrier",
                "sync_threads at planted.cu:", "thread");
  EXPECT_REPORT(Bug::kEarlyExit, "divergent barrier", "thread 7 (block", "left the kernel");
  EXPECT_REPORT(Bug::kDivergentWarp, "divergent warp", "lane", "shuffle at planted.cu:");
  EXPECT_REPORT(Bug::kDeadlock, "deadlock", "barrier 3 at " + line_of("// deadlock"), ": 64 of 96");
}

TEST_P(EveryOrder, CopyInFlight) {
  EXPECT_REPORT(Bug::kUnfinishedCopy, "copy_async not waited for", "left the kernel",
                "planted.cu:");
}

#if !defined(__SANITIZE_ADDRESS__)
TEST_P(EveryOrder, Races) {
  EXPECT_REPORT(Bug::kMissingBarrier, "race", "turned", line_of("// missing barrier"),
                "no barrier");
  EXPECT_REPORT(Bug::kMissingWarpBarrier, "race", "turned", line_of("missing warp barrier"));
  EXPECT_REPORT(Bug::kWriteAfterRead, "race", "turned", line_of("write after read"),
                line_of("// missing barrier"));
}

TEST_P(EveryOrder, AsyncCopies) {
  EXPECT_REPORT(Bug::kMissingWait, "copy_async not waited for", line_of("missing wait"),
                "in flight");
  EXPECT_REPORT(Bug::kMissingBarrierAfterWait, "race", "shared memory dynamic",
                line_of("missing wait"));
}

TEST_P(EveryOrder, Bounds) {
  EXPECT_REPORT(Bug::kOutOfBoundsShared, "out of bounds", "shared memory dynamic (256 bytes) + 256",
                line_of("out of bounds shared"));
  EXPECT_REPORT(Bug::kOutOfBoundsStatic, "turned", line_of("out of bounds static"));
  EXPECT_REPORT(Bug::kOutOfBoundsGlobal, "global memory", line_of("out of bounds global"));
  EXPECT_REPORT(Bug::kMisaligned, "misaligned", line_of("// misaligned"));
}

TEST_P(EveryOrder, UninitialisedMemory) {
  EXPECT_REPORT(Bug::kUninitialisedShared, "uninitialised", "turned (256 bytes) + 20");
  EXPECT_REPORT(Bug::kUninitialisedGlobal, "uninitialised", "global memory",
                line_of("uninitialised global"));
}
#else
// Here AddressSanitizer (for the static array's type its sibling) judges bounds, ends the process.
TEST(Bounds, AddressSanitizerKnowsTheExactSizes) {
  EXPECT_DEATH(report_of(Bug::kOutOfBoundsShared), "use-after-poison");
  EXPECT_DEATH(report_of(Bug::kOutOfBoundsStatic), "use-after-poison|out of bounds");
  EXPECT_DEATH(report_of(Bug::kOutOfBoundsGlobal), "use-after-poison");
}
#endif

std::string last_block_report(Ordering ordering, uint32_t& sum) {
  std::vector<uint32_t> values{3, 5, 7, 11, 13};
  const Buffer<uint32_t> in(values);
  Buffer<uint32_t> parts(values.size()), total(1);
  Buffer<uint32_t> arrived(std::vector<uint32_t>{0});
  try {
    EXPECT_TRUE(last_block_sum({.ordering = ordering,
                                .in = in.data(),
                                .parts = parts.data(),
                                .arrived = arrived.data(),
                                .sum = total.data(),
                                .blocks = 5})
                    .ok());
  } catch (const simt::Error& error) {
    return error.what();
  }
  sum = total.read()[0];
  return "no report";
}

TEST_P(EveryOrder, BlocksAreOrderedByReleaseAndAcquire) {
  uint32_t sum = 0;
  EXPECT_EQ(last_block_report(Ordering::kAcquireRelease, sum), "no report");
  EXPECT_EQ(sum, 39u);
  EXPECT_EQ(last_block_report(Ordering::kFences, sum = 0), "no report");
  EXPECT_EQ(sum, 39u);
#if !defined(__SANITIZE_ADDRESS__)
  const std::string report = last_block_report(Ordering::kNone, sum);
  EXPECT_TRUE(contains(report, "race") && contains(report, line_of("unordered blocks"))) << report;
#endif
}

std::string cluster_report(ClusterBug bug, uint32_t blocks, std::vector<uint32_t>& passed) {
  std::vector<uint32_t> values(size_t{blocks} * 32);
  std::iota(values.begin(), values.end(), 0u);
  const Buffer<uint32_t> in(values);
  Buffer<uint32_t> out(values.size());
  try {
    EXPECT_TRUE(pass_on({bug, blocks, in.data(), out.data()}).ok());
  } catch (const simt::Error& error) {
    return error.what();
  }
  passed = out.read();
  return "no report";
}

TEST_P(EveryOrder, BlocksOfAClusterShareMemory) {
  for (const uint32_t blocks : {1u, 2u, 8u}) {
    std::vector<uint32_t> passed;
    ASSERT_EQ(cluster_report(ClusterBug::kNone, blocks, passed), "no report");
    for (uint32_t i = 0; i < passed.size(); ++i) {
      // Read from the next block and stored there: so each block has its own values, turned.
      ASSERT_EQ(passed[i], i / 32 * 32 + (i + 1) % 32) << blocks << " blocks, " << i;
    }
  }
  std::vector<uint32_t> passed;
  const std::string twice = cluster_report(ClusterBug::kArriveTwice, 4, passed);
  EXPECT_TRUE(contains(twice, line_of("second arrival"))) << twice;
  const std::string early = cluster_report(ClusterBug::kNoStart, 4, passed);
  EXPECT_TRUE(contains(early, "which may not have started") &&
              contains(early, line_of("start of a neighbour")))
      << early;
#if !defined(__SANITIZE_ADDRESS__)
  const std::string left = cluster_report(ClusterBug::kEarlyLeave, 4, passed);
  EXPECT_TRUE(contains(left, "a cluster barrier is missing") && contains(left, "left the kernel"))
      << left;
  const std::string race = cluster_report(ClusterBug::kNoBarrier, 4, passed);
  EXPECT_TRUE(contains(race, "uninitialised: ") || contains(race, "race: ")) << race;
  EXPECT_TRUE(contains(race, "received")) << race;
#endif
}

std::string mail_report(MailBug bug, uint32_t blocks, std::vector<uint32_t>& sent) {
  std::vector<uint32_t> values(size_t{blocks} * 32);
  std::iota(values.begin(), values.end(), 0u);
  const Buffer<uint32_t> in(values);
  Buffer<uint32_t> out(values.size());
  try {
    EXPECT_TRUE(send_on({bug, blocks, in.data(), out.data()}).ok());
  } catch (const simt::Error& error) {
    return error.what();
  }
  sent = out.read();
  return "no report";
}

TEST_P(EveryOrder, BlocksOfAClusterSendEachOtherMail) {
  std::vector<uint32_t> sent;
  for (const uint32_t blocks : {1u, 2u, 16u}) {
    ASSERT_EQ(mail_report(MailBug::kNone, blocks, sent), "no report");
    for (uint32_t i = 0; i < sent.size(); ++i) {
      const uint32_t sender = (i / 32 + blocks - 1) % blocks;
      ASSERT_EQ(sent[i], sender * 32 + (i + 1) % 32) << blocks << " blocks, " << i;
    }
  }
  const std::string closed = mail_report(MailBug::kNotOpened, 4, sent);
  EXPECT_TRUE(contains(closed, "nobody has opened") &&
              contains(closed, line_of("to the next block")))
      << closed;
  const std::string more = mail_report(MailBug::kTooMuch, 4, sent);
  EXPECT_TRUE(contains(more, "more than the 496 bytes") || contains(more, "uninitialised: "))
      << more;  // whoever is first
  const std::string lost = mail_report(MailBug::kLost, 4, sent);
  EXPECT_TRUE(contains(lost, "deadlock") && contains(lost, line_of("for all of it"))) << lost;
#if !defined(__SANITIZE_ADDRESS__)
  const std::string race = mail_report(MailBug::kNoWait, 4, sent);
  EXPECT_TRUE(contains(race, "uninitialised: ") || contains(race, "race: ")) << race;
#endif
}

TEST(DependentLaunch, WaitsForThePreviousKernel) {
  Buffer<uint32_t> first(std::vector<uint32_t>{1}), second(1), third(1);
  ASSERT_TRUE(dependent({first.data(), second.data(), true}, true).ok());
  ASSERT_TRUE(dependent({second.data(), third.data(), true}, true).ok());
  EXPECT_EQ(third.read()[0], 3u);
  ASSERT_TRUE(dependent({second.data(), third.data(), false}, false).ok());
#if !defined(__SANITIZE_ADDRESS__)
  try {
    (void)dependent({third.data(), second.data(), false}, true);
    ADD_FAILURE() << "no report";
  } catch (const simt::Error& error) {
    EXPECT_TRUE(contains(error.what(), "wait_for_previous_kernel is missing") &&
                contains(error.what(), line_of("missing wait for the previous kernel")))
        << error.what();
  }
#endif
}

TEST(Fragments, AWrongIndexChangesTheProduct) {
  // Distinct small integers: exact in half and in the sum, so equality is the test.
  std::vector<uint16_t> a(256), b(128);
  for (int i = 0; i < 256; ++i) a[i] = float_to_half(static_cast<float>(i * 7 % 61 - 30));
  for (int i = 0; i < 128; ++i) b[i] = float_to_half(static_cast<float>(i * 5 % 37 - 18));
  std::vector<float> expected(128);
  for (int m = 0; m < 16; ++m) {
    for (int n = 0; n < 8; ++n) {
      for (int k = 0; k < 16; ++k) {
        expected[m * 8 + n] += half_to_float(a[m * 16 + k]) * half_to_float(b[n * 16 + k]);
      }
    }
  }
  const Buffer<uint16_t> a_buffer(a), b_buffer(b);
  auto result = [&](FragmentBug bug) {
    Buffer<float> c(128);
    EXPECT_TRUE(product({bug, a_buffer.data(), b_buffer.data(), c.data()}).ok());
    return c.read();
  };
  EXPECT_EQ(result(FragmentBug::kNone), expected);
  EXPECT_NE(result(FragmentBug::kSwappedA), expected);
  EXPECT_NE(result(FragmentBug::kWrongColumn), expected);
}

std::string report_of(ProductBug bug, std::vector<float>& sums) {
  std::vector<uint16_t> operands(64 * 64 + 16);
  for (size_t i = 0; i < operands.size(); ++i)
    operands[i] = float_to_half(static_cast<float>(i * 7 % 61) - 30);
  const Buffer<uint16_t> in(operands);
  Buffer<float> out(64 * 64);
  try {
    EXPECT_TRUE(group_product({bug, in.data(), out.data()}).ok());
  } catch (const simt::Error& error) {
    return error.what();
  }
  sums = out.read();
  return "no report";
}

// A of ones: each sum of a column is the sum of B's numbers in it, k ascending.
TEST(ProductsOfAWarpgroup, RunBehindTheProgram) {
  std::vector<float> sums;
  EXPECT_EQ(report_of(ProductBug::kNone, sums), "no report");
  for (int i = 0; i < 64 * 64; ++i) {
    float expected = 0;
    for (int k = 0; k < 64; ++k) expected += static_cast<float>((i % 64 * 64 + k) * 7 % 61) - 30;
    ASSERT_EQ(sums[i], expected) << i;
  }
  EXPECT_TRUE(contains(report_of(ProductBug::kUnfinished, sums), "wgmma not waited for"));
#if !defined(__SANITIZE_ADDRESS__)
  const std::string product = line_of("the product");
  for (const auto& [bug, line] : {std::pair{ProductBug::kEarlyRead, line_of("early read")},
                                  {ProductBug::kEarlyWriteOfA, line_of("early write of A")}}) {
    const std::string report = report_of(bug, sums);
    EXPECT_TRUE(contains(report, "wgmma not waited for: thread") && contains(report, product) &&
                contains(report, line))
        << report;
  }
  const std::string report = report_of(ProductBug::kEarlyWriteOfB, sums);
  EXPECT_TRUE(contains(report, "race: thread") && contains(report, product) &&
              contains(report, line_of("early write of B")))
      << report;
  const std::string unfenced = report_of(ProductBug::kMissingFence, sums);
  EXPECT_TRUE(contains(unfenced, "fence_shared_for_wgmma is missing: thread") &&
              contains(unfenced, product) && contains(unfenced, line_of("unfenced B")))
      << unfenced;
#endif
}

TEST(Launch, RefusesWhatADeviceRefuses) {
  Buffer<float> out(1);
  EXPECT_THROW(simt::launch({.grid = {1}, .block = {1025}}, [] {}), simt::Error);
  EXPECT_THROW(simt::launch({.grid = {0}, .block = {32}}, [] {}), simt::Error);
  EXPECT_THROW(simt::launch({.grid = {1}, .block = {32}, .shared_bytes = 228 * 1024}, [] {}),
               simt::Error);
  EXPECT_THROW(simt::launch({.grid = {6}, .block = {32}, .cluster_blocks = 4}, [] {}), simt::Error);
}

}  // namespace
}  // namespace dovetail::simt_test
