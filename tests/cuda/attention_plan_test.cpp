// SPDX-License-Identifier: Apache-2.0
// The CUDA plan of attention: what holds on every device, shared-memory maps, some plans in words.
#include "cuda/attention_plan.h"

#include <gtest/gtest.h>

#include <set>

namespace dovetail::cuda {
namespace {

constexpr int kMultiprocessors[] = {1, 2, 14, 16, 48, 82, 108, 132, 148, 188};

AttentionProblem problem(AttentionMode mode, std::int64_t batch, std::int64_t tokens,
                         std::int64_t capacity, int q_heads, int kv_heads, int d,
                         DataType cache = DataType::kFloat16) {
  return {.attributes = {.num_q_heads = q_heads,
                         .num_kv_heads = kv_heads,
                         .head_size = d,
                         .enable_tree_attention = mode == AttentionMode::kTreeDecode,
                         .enable_fp8_kv_cache = cache == DataType::kFloat8E4M3},
          .mode = mode,
          .cache_type = cache,
          .batch = batch,
          .tokens = tokens,
          .capacity = capacity,
          .rope_rows = capacity,
          .rotary_width = d};
}

CudaDevice device(int multiprocessors, int shared_kb, int capability = 80) {
  return {.compute_capability = capability,
          .multiprocessors = multiprocessors,
          .shared_memory_bytes = shared_kb * 1024};
}
const CudaDevice kOrin = device(16, 163, 87);
const CudaDevice kAda = device(82, 99, 89);
const CudaDevice kHopper = device(132, 227, 90);

TEST(AttentionPlan, CoversEveryRowWithinEveryDevice) {
  using enum AttentionMode;
  const std::tuple<AttentionMode, std::int64_t, std::int64_t, std::int64_t> calls[] = {
      {kDecode, 1, 1, 4096},         {kDecode, 64, 1, 512},      {kDecode, 1, 1, 131072},
      {kTreeDecode, 1, 128, 4096},   {kTreeDecode, 4, 10, 8192}, {kPrefill, 1, 4096, 4096},
      {kChunkedPrefill, 2, 33, 600}, {kPrefill, 0, 7, 8},        {kPrefill, 1, 0, 8}};
  for (const int multiprocessors : kMultiprocessors) {
    for (const int shared_kb : {99, 163, 227}) {
      for (const int d : {32, 64, 80, 96, 112, 128, 192, 256}) {
        for (const auto& [q_heads, kv_heads] :
             {std::pair(32, 8), std::pair(7, 1), std::pair(3, 3)}) {
          for (const auto& [mode, batch, tokens, capacity] : calls) {
            for (const DataType cache : {DataType::kFloat16, DataType::kFloat8E4M3}) {
              const AttentionProblem p =
                  problem(mode, batch, tokens, capacity, q_heads, kv_heads, d, cache);
              const auto s = schedule_attention(p, device(multiprocessors, shared_kb));
              ASSERT_TRUE(s.ok()) << s.status().message();
              SCOPED_TRACE(testing::Message() << multiprocessors << ": " << describe(*s));
              const AttentionTile& t = kAttentionTiles[s->tile];
              const std::int64_t rows = tokens * q_heads / kv_heads;
              EXPECT_GE(t.head_size, d);
              EXPECT_LE(s->shared_bytes + 1024, (shared_kb + 1) * 1024);
              EXPECT_GE(s->row_blocks * t.rows(), rows);
              EXPECT_LT((s->row_blocks - 1) * t.rows(), std::max<std::int64_t>(rows, 1));
              EXPECT_GE(s->prepare_blocks * prepared_rows(d),
                        tokens * 2 * kv_heads);
              EXPECT_EQ(s->fused, tokens == 1);  // of at most 16 heads a group
              EXPECT_GE(s->splits, 1);
              EXPECT_GE(s->least_tiles * t.keys, kLeastSplitKeys);
              EXPECT_LE(s->shared_bytes + static_shared_bytes(t), shared_kb * 1024);
              const std::int64_t items = s->row_blocks * kv_heads * batch;
              if (s->splits > 1) {  // only while the GPU has room, and each with enough keys
                EXPECT_LE(items * s->splits,
                          multiprocessors * (cache == DataType::kFloat8E4M3 ? 2 : 1));
                EXPECT_LE(s->splits * kLeastSplitKeys, capacity);
              }
              // The pieces of the workspace follow each other without overlap.
              const AttentionWorkspace& w = s->workspace;
              const std::int64_t partial_rows = s->splits > 1 ? items * s->splits * t.rows() : 0;
              EXPECT_EQ(w.tree_mask, 0u);
              EXPECT_GE(static_cast<std::int64_t>(w.arrivals - w.tree_mask),
                        mode == kTreeDecode ? batch * tokens * ((tokens + 31) / 32) * 4 : 0);
              EXPECT_GE(static_cast<std::int64_t>(w.partial_tops - w.arrivals),
                        s->splits > 1 ? items * 8 : 0);
              EXPECT_GE(static_cast<std::int64_t>(w.partial_sums - w.partial_tops),
                        partial_rows * 8);
              EXPECT_GE(static_cast<std::int64_t>(w.bytes - w.partial_sums), partial_rows * d * 4);
              for (const std::size_t offset :
                   {w.tree_mask, w.arrivals, w.partial_tops, w.partial_sums}) {
                EXPECT_EQ(offset % 256, 0u);
              }
            }
          }
        }
      }
    }
  }
}

TEST(AttentionPlan, FillsTheGpuInDecode) {
  // One lane, 8 KV heads: as many whole splits as there are multiprocessors for; of 14, 8 get one.
  for (const int multiprocessors : kMultiprocessors) {
    const auto s = schedule_attention(problem(AttentionMode::kDecode, 1, 1, 131072, 32, 8, 128),
                                      device(multiprocessors, 163));
    ASSERT_TRUE(s.ok());
    EXPECT_LE(s->splits, std::max(1, multiprocessors / 8)) << describe(*s);
    EXPECT_GE(8 * s->splits, 7 * std::max(1, multiprocessors / 8)) << describe(*s);
    EXPECT_TRUE(s->fused);
  }
}

// Clusters that find a place each, more of them where few items leave the GPU idle, none before
// sm_90.
TEST(AttentionPlan, FoldsOneTokenInClusters) {
  struct Case {
    int batch, capacity, q_heads, kv_heads, head_size, cluster, splits;
  };
  for (const Case& c : {Case{1, 8192, 32, 8, 128, 8, 8}, Case{1, 8192, 28, 4, 128, 16, 16},
                        Case{1, 32768, 14, 2, 64, 16, 48}, Case{1, 128, 32, 8, 128, 2, 2},
                        Case{1, 64, 32, 8, 128, 1, 1}, Case{8, 8192, 32, 8, 128, 2, 2},
                        Case{8, 8192, 28, 4, 128, 2, 4}, Case{32, 8192, 32, 8, 128, 1, 1}}) {
    const auto p =
        problem(AttentionMode::kDecode, c.batch, 1, c.capacity, c.q_heads, c.kv_heads, c.head_size);
    const auto s = schedule_attention(p, kHopper);
    ASSERT_TRUE(s.ok());
    EXPECT_EQ(1 << s->cluster_shift, c.cluster) << describe(*s);
    EXPECT_EQ(s->splits, c.splits) << describe(*s);
    EXPECT_EQ(schedule_attention(p, kAda)->cluster_shift, 0);
  }
}

TEST(AttentionPlan, TakesWgmmaForManyRowsOnHopperAlone) {
  using enum AttentionMode;
  const auto wgmma = [](const AttentionProblem& p, const CudaDevice& d) {
    const auto s = schedule_attention(p, d);
    return s.ok() && s->wgmma >= 0;
  };
  for (const int d : {64, 128}) {
    EXPECT_TRUE(wgmma(problem(kPrefill, 1, 512, 512, 32, 8, d), kHopper));
    EXPECT_TRUE(wgmma(problem(kChunkedPrefill, 1, 512, 8704, 32, 8, d), kHopper));
    EXPECT_FALSE(wgmma(problem(kPrefill, 1, 512, 512, 32, 8, d), kAda));
    EXPECT_FALSE(wgmma(problem(kPrefill, 1, 512, 512, 32, 8, d), device(148, 227, 100)));
    EXPECT_FALSE(wgmma(problem(kPrefill, 1, 4, 512, 32, 8, d), kHopper));
    EXPECT_FALSE(wgmma(problem(kDecode, 64, 1, 512, 32, 8, d), kHopper));
    EXPECT_FALSE(wgmma(problem(kPrefill, 1, 512, 512, 32, 8, d, DataType::kFloat8E4M3), kHopper));
    EXPECT_TRUE(wgmma(problem(kTreeDecode, 1, 64, 512, 32, 8, d), kHopper));
    EXPECT_FALSE(wgmma(problem(kTreeDecode, 1, 64, 512, 32, 8, d), kAda));
    EXPECT_FALSE(wgmma(problem(kTreeDecode, 1, 4, 512, 32, 8, d), kHopper));  // 16 rows
  }
  EXPECT_FALSE(wgmma(problem(kPrefill, 1, 512, 512, 32, 8, 80), kHopper));
}

TEST(AttentionPlan, SplitsKeysWhereRowBlocksLeaveHopperIdle) {
  using enum AttentionMode;
  struct {
    AttentionProblem problem;
    int rows, splits;
  } calls[] = {
      {problem(kTreeDecode, 1, 16, 8208, 32, 8, 128), 64, 16},
      {problem(kTreeDecode, 1, 64, 8256, 32, 8, 128), 128, 8},
      {problem(kTreeDecode, 8, 16, 8208, 32, 8, 128), 64, 2},
      {problem(kTreeDecode, 1, 16, 8208, 14, 2, 64), 64, 64},
      {problem(kChunkedPrefill, 1, 512, 8704, 14, 2, 64), 64, 2},
      {problem(kChunkedPrefill, 1, 64, 32768, 8, 2, 128), 128, 32},
      {problem(kChunkedPrefill, 1, 512, 8704, 32, 8, 128), 128, 1},
      {problem(kPrefill, 1, 64, 64, 8, 2, 128), 128, 1},
  };
  for (const auto& [p, rows, splits] : calls) {
    const auto s = schedule_attention(p, kHopper);
    ASSERT_TRUE(s.ok());
    SCOPED_TRACE(describe(*s));
    ASSERT_GE(s->wgmma, 0);
    EXPECT_EQ(kAttentionWgmmaTiles[s->wgmma].rows(), rows);
    EXPECT_EQ(s->splits, splits);
    EXPECT_EQ(s->folds, splits > 1);
    EXPECT_EQ(kAttentionWgmmaTiles[s->wgmma].splits, splits > 1);
    EXPECT_LE(s->row_blocks * p.attributes.num_kv_heads * p.batch * splits,
              132 * kAttentionWgmmaTiles[s->wgmma].resident);
  }
}

TEST(AttentionPlan, StreamsKeysOnceForATreeOf128Rows) {
  for (const CudaDevice& d : {kOrin, kAda, kHopper}) {
    const auto one =
        schedule_attention(problem(AttentionMode::kTreeDecode, 1, 128, 4096, 8, 8, 128), d);
    ASSERT_TRUE(one.ok());
    EXPECT_EQ(one->row_blocks, 1);
    const auto grouped =
        schedule_attention(problem(AttentionMode::kTreeDecode, 1, 32, 4096, 32, 8, 128), d);
    ASSERT_TRUE(grouped.ok());
    EXPECT_EQ(grouped->row_blocks, 1);
  }
}

TEST(AttentionPlan, SaysWhatItDoes) {
  const auto text = [](const AttentionProblem& p, const CudaDevice& d) {
    const auto s = schedule_attention(p, d);
    return s.ok() ? describe(*s) : s.status().message();
  };
  EXPECT_EQ(text(problem(AttentionMode::kDecode, 1, 1, 8192, 32, 8, 128), kHopper),
            "attention: cuda, decode, tile 16 rows x 64 keys, head 128, 3 stages, 128 threads, 8 "
            "splits, grid 8x8x1 in clusters of 8, 106496 bytes of shared memory, 1065984 bytes of "
            "workspace");
  EXPECT_EQ(text(problem(AttentionMode::kPrefill, 1, 4096, 4096, 32, 8, 128), kHopper),
            "attention: cuda, prefill, wgmma, tile 128 rows x 128 keys, head 128, 3 stages, 384 "
            "threads, 1 splits, grid 128x8x1, 230400 bytes of shared memory, 0 bytes of workspace");
  EXPECT_EQ(text(problem(AttentionMode::kPrefill, 1, 4096, 4096, 32, 8, 128), kAda),
            "attention: cuda, prefill, tile 128 rows x 64 keys, head 128, 2 stages, 256 threads, 1 "
            "splits, "
            "grid 128x8x1, 98304 bytes of shared memory, 0 bytes of workspace");
  EXPECT_EQ(
      text(problem(AttentionMode::kTreeDecode, 1, 60, 4096, 24, 8, 256), kOrin),
      "attention: cuda, tree decode, tile 64 rows x 32 keys, head 256, 2 stages, 128 threads, 1 "
      "splits, grid 3x8x1, 98304 bytes of shared memory, 512 bytes of workspace");
}

TEST(AttentionPlan, RefusesWithAReason) {
  const auto message = [](const AttentionProblem& p, const CudaDevice& d = kHopper) {
    return schedule_attention(p, d).status().message();
  };
  AttentionProblem p = problem(AttentionMode::kDecode, 1, 1, 64, 8, 2, 64);
  EXPECT_EQ(message(p), "");
  EXPECT_EQ(message(p, device(40, 48, 75)),
            "attention: the device is sm_75, expected sm_80 or later");
  EXPECT_EQ(message(p, device(40, 32)),
            "attention: head_size is 64 and the device has 32768 bytes of shared memory a block, "
            "expected a head of at most 256 and 99 KB");
  p.activation_type = DataType::kFloat32;
  EXPECT_EQ(message(p), "attention: qkv is fp32, expected fp16 or bf16 on CUDA");
  p.activation_type = DataType::kBFloat16;
  EXPECT_EQ(message(p),
            "attention: kv_cache is fp16, expected bf16 (the type of qkv) or fp8_e4m3 on CUDA");
  p = problem(AttentionMode::kDecode, 1, 1, 64, 8, 2, 72, DataType::kFloat8E4M3);
  EXPECT_EQ(message(p),
            "attention: head_size is 72, expected a multiple of 16 with an fp8_e4m3 cache on CUDA");
  p = problem(AttentionMode::kDecode, 70000, 1, 64, 8, 2, 64);
  EXPECT_EQ(message(p),
            "attention: batch 70000, num_kv_heads 2, expected at most 65535 and 32767 on CUDA");
  p = problem(AttentionMode::kPrefill, 65535, 65535, 65535, 8, 2, 64);
  EXPECT_EQ(message(p),
            "attention: qkv has 65535 x 65535 tokens, expected fewer than 2^31 on CUDA");
  p = problem(AttentionMode::kDecode, 1, 1, std::int64_t{1} << 31, 8, 2, 64);
  EXPECT_EQ(message(p),
            "attention: capacity 2147483648, tokens 1, heads 12, expected capacity and tokens * "
            "heads below 2^31 on CUDA");
}

TEST(AttentionTile, SwizzleIsAPermutationWithoutBankConflicts) {
  for (const int chunks : {4, 5, 6, 8, 10, 12, 16, 24, 32}) {
    for (int row = 0; row < 64; ++row) {
      std::set<int> places;
      for (int chunk = 0; chunk < chunks; ++chunk) {
        const int place = swizzled_chunk(row, chunk, chunks);
        EXPECT_TRUE(place >= 0 && place < chunks) << chunks << ' ' << row << ' ' << chunk;
        places.insert(place);
      }
      EXPECT_EQ(places.size(), static_cast<std::size_t>(chunks));
    }
    // ldmatrix: one chunk of 8 rows, in 8 different 16-byte columns of the 128 bytes of the banks.
    for (int row = 0; row < 64; row += 8) {
      for (int chunk = 0; chunk < chunks; ++chunk) {
        std::set<int> columns;
        for (int i = 0; i < 8; ++i) columns.insert(tile_offset(row + i, chunk, chunks) / 16 % 8);
        EXPECT_EQ(columns.size(), 8u) << chunks << ' ' << row << ' ' << chunk;
      }
    }
  }
}

TEST(AttentionTile, QueryOrderForE4m3FollowsTheFragment) {
  // Lane t of a quad holds keys' bytes 4t .. 4t+3; its A fragment has places 2t, 2t+1, 2t+8, 2t+9.
  for (int t = 0; t < 4; ++t) {
    EXPECT_EQ(e4m3_query_place(4 * t), 2 * t);
    EXPECT_EQ(e4m3_query_place(4 * t + 1), 2 * t + 1);
    EXPECT_EQ(e4m3_query_place(16 + 4 * t + 2), 16 + 2 * t + 8);
    EXPECT_EQ(e4m3_query_place(16 + 4 * t + 3), 16 + 2 * t + 9);
  }
}

}  // namespace
}  // namespace dovetail::cuda
