// SPDX-License-Identifier: Apache-2.0
// What an engine and its users do to a plugin besides computing: creators, workspace at profile
// bounds, state (whole, corrupt, newer, foreign), many contexts at once, and every misuse with its
// sentence.
#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>
#include <thread>

#include "plugin_host/cuda_reference.h"
#include "plugin_host/nodes.h"
#include "support/guarded_buffer.h"
#include "support/random.h"
#include "support/typed_values.h"

namespace dovetail::plugin_host {
namespace {

using test_support::GuardedBuffer;

const AttentionProblem kAttention{
    .attributes = {.num_q_heads = 4, .num_kv_heads = 2, .head_size = 32},
    .mode = AttentionMode::kChunkedPrefill,
    .batch = 3,
    .tokens = 200,
    .capacity = 256,
    .rope_rows = 256,
    .rotary_width = 32,
};
const Int4GemmProblem kInt4Gemm{.attributes = {.gemm_n = 64, .gemm_k = 128, .group_size = 128},
                                .m = 300};

class PluginLifecycle : public testing::TestWithParam<LibraryUnderTest> {
 protected:
  void SetUp() override {
    Result<std::unique_ptr<Library>> opened = Library::open(GetParam().path, GetParam().form);
    ASSERT_TRUE(opened.ok()) << opened.status().message();
    library_ = std::move(opened).value();
  }
  std::unique_ptr<Engine> build(const Node& node) {
    Result<std::unique_ptr<Engine>> engine = library_->build(node);
    EXPECT_TRUE(engine.ok()) << engine.status().message();
    return engine.ok() ? std::move(engine).value() : nullptr;
  }
  std::string build_error(const Node& node) {
    const Result<std::unique_ptr<Engine>> engine = library_->build(node);
    return engine.ok() ? "built" : engine.status().message();
  }
  bool v3() const { return GetParam().v3; }

  std::unique_ptr<Library> library_;
};

// Buffers of one int4 GEMM call; every weight is code 9: an output is the sum of activations.
struct GemmCall {
  explicit GemmCall(std::int64_t rows, std::size_t workspace_bytes)
      : activations(static_cast<std::size_t>(rows * 128 * 2), 2),
        weights(64 * 128 / 2, 1),
        scales(64 * 2, 2),
        output(static_cast<std::size_t>(rows * 64 * 2), 2),
        workspace(workspace_bytes, 64),
        rows_(rows) {
    test_support::Random random(static_cast<std::uint64_t>(rows));
    for (std::int64_t row = 0; row < rows; ++row) {
      double sum = 0;
      for (std::int64_t k = 0; k < 128; ++k) {
        const double value = static_cast<double>(random.integer(-7, 7));
        test_support::store_value(activations.data(), DataType::kFloat16,
                                  static_cast<std::size_t>(row * 128 + k), value);
        sum += value;
      }
      sums_.push_back(sum);
    }
    std::memset(weights.data(), 0x99, weights.size());
    for (std::size_t n = 0; n < 64; ++n) {
      test_support::store_value(scales.data(), DataType::kFloat16, n, 1);
    }
  }

  Status run(Context& context, ReferenceStream* stream) {
    const void* const in[] = {activations.data(), weights.data(), scales.data()};
    void* const out[] = {output.data()};
    return context.enqueue(in, out, workspace.data(), stream);
  }
  bool right() const {
    for (std::int64_t i = 0; i < rows_ * 64; ++i) {
      if (test_support::load_value(output.data(), DataType::kFloat16,
                                   static_cast<std::size_t>(i)) !=
          sums_[static_cast<std::size_t>(i / 64)]) {
        return false;
      }
    }
    return output.intact() && workspace.intact();
  }
  std::vector<TensorDesc> tensors() const {
    Int4GemmProblem problem = kInt4Gemm;
    problem.m = rows_;
    return int4_gemm_tensors(problem);
  }

  GuardedBuffer activations, weights, scales, output, workspace;

 private:
  std::int64_t rows_;
  std::vector<double> sums_;
};

TEST_P(PluginLifecycle, CreatorsNameTheOperators) {
  const std::vector<CreatorInfo> creators = library_->creators();
  ASSERT_EQ(creators.size(), 2u);
  EXPECT_EQ(creators[0].name, "AttentionPlugin");
  EXPECT_EQ(creators[1].name, "Int4GroupwiseGemmPlugin");
  for (const CreatorInfo& creator : creators) {
    EXPECT_EQ(creator.version, "1");
    EXPECT_EQ(creator.plugin_namespace, "");
    EXPECT_EQ(creator.interface_kind, v3() ? "PLUGIN CREATOR_V3ONE" : "PLUGIN CREATOR_V1");
  }
  EXPECT_EQ(creators[0].fields[0], "num_q_heads");
}

// The workspace of a profile serves every call within it: also the decode of one lane, which needs
// more than the longest prefill does (see workspace_bound).
TEST_P(PluginLifecycle, WorkspaceServesEveryCallOfTheProfile) {
  const auto engine = build(int4_gemm_node(kInt4Gemm));
  ASSERT_NE(engine, nullptr);
  const auto context = engine->make_context();
  ASSERT_TRUE(context.ok());
  for (const std::int64_t rows : {300, 131, 66, 17, 2, 1}) {
    GemmCall call(rows, engine->workspace_bytes());
    ASSERT_TRUE((*context)->set_shapes(call.tensors()).ok());
    const Status status = call.run(**context, nullptr);
    ASSERT_TRUE(status.ok()) << status.message();
    EXPECT_TRUE(call.right()) << rows << " rows";
  }
  const auto attention = build(attention_node(kAttention));
  ASSERT_NE(attention, nullptr);
  EXPECT_GE(attention->workspace_bytes(), 132u * 4 * 32 * sizeof(float));  // one token on an H100
}

// Contexts of one engine on threads and streams of their own, shapes changing between calls.
TEST_P(PluginLifecycle, ContextsRunAtOnce) {
  const auto engine = build(int4_gemm_node(kInt4Gemm));
  ASSERT_NE(engine, nullptr);
  std::atomic<int> failures{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      const auto context = engine->make_context();
      ReferenceStream stream;
      for (int round = 0; context.ok() && round < 6; ++round) {
        GemmCall call(1 + 7 * t + round % 3, engine->workspace_bytes());
        const bool ok = (*context)->set_shapes(call.tensors()).ok() &&
                        call.run(**context, &stream).ok() && call.right();
        failures += !ok;
      }
      failures += stream.launches != 6;
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  EXPECT_EQ(failures, 0);
}

TEST_P(PluginLifecycle, StateMakesTheSamePluginAgain) {
  AttentionProblem problem = kAttention;
  problem.attributes.attention_scale = 0.1f;  // no short decimal form
  problem.attributes.sliding_window_size = 17;
  const auto engine = build(attention_node(problem));
  ASSERT_NE(engine, nullptr);
  const auto again = library_->load(attention_node(problem), *engine, engine->state());
  ASSERT_TRUE(again.ok());
  EXPECT_TRUE((*again)->make_context().ok());
  const auto other = build(attention_node(kAttention));
  ASSERT_NE(other, nullptr);
  EXPECT_NE(engine->state(), other->state());
}

TEST_P(PluginLifecycle, RefusesStateThatIsNotItsOwn) {
  const Node node = int4_gemm_node(kInt4Gemm);
  const auto engine = build(node);
  const auto attention = build(attention_node(kAttention));
  ASSERT_NE(engine, nullptr);
  ASSERT_NE(attention, nullptr);
  const std::string state = engine->state();
  const auto refusal = [&](const std::string& changed) -> std::string {
    const auto loaded = library_->load(node, *engine, changed);
    const auto context = (*loaded)->make_context();
    return context.ok() ? "accepted" : context.status().message();
  };
  const auto replaced = [&](const std::string& from, const std::string& to) {
    std::string text = state;
    const std::size_t at = text.find(from);
    EXPECT_NE(at, std::string::npos) << from;
    return text.replace(at, from.size(), to);
  };
  EXPECT_EQ(refusal(state), "accepted");
  EXPECT_NE(refusal(""), "accepted");
  EXPECT_NE(refusal(attention->state()), "accepted");
  if (v3()) {
    const std::string version = "dovetail_state_version 5 1 01000000";
    EXPECT_EQ(
        refusal(replaced(version, "dovetail_state_version 5 1 02000000")),
        "int4_gemm: serialised state has version 2, expected at most 1; rebuild the engine or "
        "update the library");
    EXPECT_EQ(
        refusal(replaced(version, "")),
        "int4_gemm: serialised state has no field dovetail_state_version, expected version 1");
    EXPECT_EQ(refusal(replaced("gemm_n 5 1 40000000", "gemm_n 5 1 ffffffff")).find("int4_gemm: "),
              0u);
    EXPECT_EQ(refusal(replaced("gemm_n 5 1 40000000", "gemm_n 1 1 40000000")),
              "int4_gemm: field gemm_n is FLOAT32, expected INT32");
    EXPECT_EQ(refusal(replaced("gemm_n", "gemm_q")).find("int4_gemm: "), 0u);
  } else {
    for (std::size_t i = 0; i < state.size(); ++i) {
      std::string changed = state;
      changed[i] = static_cast<char>(changed[i] ^ 1);
      EXPECT_NE(refusal(changed), "accepted") << "byte " << i;
      EXPECT_NE(refusal(state.substr(0, i)), "accepted") << "first " << i << " bytes";
    }
    EXPECT_NE(refusal(state + "\n"), "accepted");
    EXPECT_EQ(
        refusal(replaced("dovetail-state 1", "dovetail-state 2")),
        "int4_gemm: serialised state has version 2, expected at most 1; rebuild the engine or "
        "update the library");
  }
}

TEST_P(PluginLifecycle, WrongNodesFailWhenTheyAreBuilt) {
  Node node = int4_gemm_node(kInt4Gemm);
  node.inputs[1] = {DataType::kInt8, {32, 64}, {32, 64}, {32, 64}};
  EXPECT_EQ(build_error(node),
            "int4_gemm: weights is [32, 64], expected per weight_layout; edgellm_v1: [N/2, K] = "
            "[32, 128]");

  node = int4_gemm_node(kInt4Gemm);
  node.inputs.pop_back();
  EXPECT_EQ(build_error(node), "int4_gemm: 2 inputs, expected 3 with these attributes");

  node = int4_gemm_node(kInt4Gemm);
  node.inputs[0].type = DataType::kInt8;
  EXPECT_EQ(build_error(node), "no format for tensor 0");

  Int4GemmProblem cpu = kInt4Gemm;
  cpu.attributes.weight_layout = WeightLayout::kCpuV1;
  EXPECT_EQ(build_error(int4_gemm_node(cpu)),
            "int4_gemm: weight_layout is cpu_v1, expected edgellm_v1 or cuda_v1 on CUDA");

  AttentionProblem heads = kAttention;
  heads.attributes.head_size = 72;
  heads.attributes.enable_fp8_kv_cache = 1;
  heads.cache_type = DataType::kFloat8E4M3;
  EXPECT_EQ(build_error(attention_node(heads)),
            "attention: head_size is 72, expected a multiple of 16 with an fp8_e4m3 cache on CUDA");
  heads.attributes.head_size = 260;
  EXPECT_EQ(build_error(attention_node(heads)),
            "attention: head_size is 260, expected a multiple of 8 up to 256");

  node = attention_node(kAttention);
  node.inputs[1].type = DataType::kFloat8E4M3;  // without enable_fp8_kv_cache
  EXPECT_EQ(build_error(node), "no format for tensor 1");
}

TEST_P(PluginLifecycle, MisuseAtRunTimeIsAnErrorWithAReason) {
  const auto engine = build(int4_gemm_node(kInt4Gemm));
  ASSERT_NE(engine, nullptr);
  const auto context = engine->make_context();
  ASSERT_TRUE(context.ok());
  GemmCall call(4, engine->workspace_bytes());
  if (v3()) {
    EXPECT_EQ(call.run(**context, nullptr).message(), "int4_gemm: enqueue before onShapeChange");
  }
  ASSERT_TRUE((*context)->set_shapes(call.tensors()).ok());
  ASSERT_TRUE(call.run(**context, nullptr).ok());

  // Wrong shapes; the plan of the right ones before must not run on their buffers.
  std::vector<TensorDesc> wrong = call.tensors();
  wrong[0].shape = {1, 4, 64};
  const Status shapes = (*context)->set_shapes(wrong);
  const Status run = call.run(**context, nullptr);
  EXPECT_EQ((v3() ? shapes : run).message(),
            "int4_gemm: activations is [1, 4, 64], expected [B, S, K] or [M, K] with K = gemm_k = "
            "128");
  EXPECT_FALSE(run.ok());
  ASSERT_TRUE((*context)->set_shapes(call.tensors()).ok());

  ReferenceStream stream;
  stream.broken = true;
  EXPECT_EQ(call.run(**context, &stream).message(),
            "dovetail: launch failed: the stream is broken");

  setenv(kNoGpu, "1", 1);
  GemmCall other(5, engine->workspace_bytes());
  const Status no_gpu = (*context)->set_shapes(other.tensors());
  const Status no_gpu_run = other.run(**context, nullptr);
  unsetenv(kNoGpu);
  EXPECT_EQ((v3() ? no_gpu : no_gpu_run).message(), "dovetail: this machine has no GPU");
  EXPECT_FALSE(no_gpu_run.ok());

  ASSERT_TRUE((*context)->set_shapes(other.tensors()).ok());
  ASSERT_TRUE(other.run(**context, nullptr).ok());
  EXPECT_TRUE(other.right());
}

// Ahead-of-time builders run where no GPU is.
TEST_P(PluginLifecycle, BuildsAndLoadsWithoutAGpu) {
  setenv(kNoGpu, "1", 1);
  const auto engine = build(attention_node(kAttention));
  EXPECT_TRUE(engine != nullptr && engine->make_context().ok());
  unsetenv(kNoGpu);
}

INSTANTIATE_TEST_SUITE_P(Libraries, PluginLifecycle, testing::ValuesIn(libraries_under_test()),
                         [](const auto& instance) { return std::string(instance.param.name); });

}  // namespace
}  // namespace dovetail::plugin_host
