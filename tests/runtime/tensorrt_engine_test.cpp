// SPDX-License-Identifier: Apache-2.0
// The C++ TensorRT engine of src/runtime, compiled against the stand-in for the SDK's headers
// (tensorrt_standin) and run on it: Session, sampler and generation over an engine folder, with
// "GPU memory" on the host. What is judged is what the engine binds and in which order, what it
// allocates, and its errors; that TensorRT itself would agree is not shown here.
#include <gtest/gtest.h>

#include "dovetail/runtime.h"
#include "runtime/fake_cudart.h"
#include "runtime/perplexity.h"
#include "runtime/scripted_next.h"
#include "runtime/synthetic_package.h"
#include "runtime/tensorrt_standin/standin.h"

namespace dovetail {
namespace {

using Json = nlohmann::json;
using Tokens = std::vector<std::int32_t>;

constexpr int kLayers = 3, kCapacity = 64, kMaxBatch = 4, kMaxInput = 6;

// What the stand-in takes for an engine: names, and the largest shape of each input in both
// profiles, as python/dovetail/build/profiles.py has them.
Json engine_file() {
  const auto shapes = [](Json prompts, Json generation) {
    return Json::array({std::move(prompts), std::move(generation)});
  };
  const Json lanes = {kMaxBatch}, rows = {kMaxBatch, 1}, cache = {kMaxBatch, 2, 1, kCapacity, 2};
  const Json rope = {kMaxBatch, kCapacity, 2};
  constexpr int kHidden = SyntheticPackage::kHidden;
  Json inputs = {
      {"inputs_embeds", shapes({kMaxBatch, kMaxInput, kHidden}, {kMaxBatch, 1, kHidden})},
      {"rope_rotary_cos_sin", shapes(rope, rope)},
      {"context_lengths", shapes(lanes, lanes)},
      {"last_token_ids", shapes(rows, rows)},
      {"kvcache_start_index", shapes(lanes, lanes)},
  };
  Json outputs = {"logits"};
  for (int layer = 0; layer < kLayers; ++layer) {
    inputs["past_key_values_" + std::to_string(layer)] = shapes(cache, cache);
    outputs.push_back("present_key_values_" + std::to_string(layer));
  }
  return {{"inputs", inputs},
          {"outputs", outputs},
          {"profiles", 2},
          {"scratch", {4096, 512}},
          {"failure", ""},
          {"layers", kLayers},
          {"hidden", kHidden},
          {"kv_heads", 1},
          {"capacity", kCapacity},
          {"head_size", 2},
          {"vocabulary", SyntheticPackage::kVocabulary}};
}

class TensorRtEngineTest : public testing::Test {
 protected:
  TensorRtEngineTest() : synthetic_(kCapacity, kMaxBatch) { standin::steps().clear(); }

  ~TensorRtEngineTest() override {
    fake_cuda_limit(0);
    fake_cuda_remove_device(false);
    EXPECT_EQ(fake_cuda_live_allocations(), 0u) << "GPU memory is lost";
    EXPECT_EQ(fake_cuda_live_streams(), 0);
  }

  // The folder that `dovetail build` leaves, with these bytes for an engine.
  void write_engine(const std::string& bytes, int max_input = kMaxInput) {
    Json package = synthetic_.manifest;
    package["engine"] = "tensorrt";
    package["dtype"] = "fp16";
    package["model"]["layers"] = kLayers;
    package["files"] = {{"llm.engine", bytes.size()}};
    synthetic_.folder.write("llm.engine", bytes);
    const Json builder = {{"engine", "tensorrt"}, {"max_input_len", max_input}};
    const Json config = {{"builder_config", builder}, {"dovetail_package", package}};
    synthetic_.folder.write("config.json", config.dump());
  }

  Result<Session> open(const Json& engine, int max_input = kMaxInput) {
    write_engine(engine.dump(), max_input);
    return open();
  }
  Result<Session> open() { return Session::open(synthetic_.path(), options_); }

  std::string error_of(const Json& engine) { return open(engine).status().message(); }

  // Runs to the end.
  Result<std::vector<Completion>> run(const Session& session,
                                      const std::vector<std::string>& prompts,
                                      const GenerateOptions& options) {
    Result<Generation> generation = session.start(prompts, options);
    if (!generation.ok()) {
      return generation.status();
    }
    for (;;) {
      const Result<std::optional<Piece>> piece = generation->next();
      if (!piece.ok()) {
        return piece.status();
      }
      if (!piece->has_value()) {
        return std::vector<Completion>(generation->completions().begin(),
                                       generation->completions().end());
      }
    }
  }

  static Tokens expected(const std::string& prompt, int count) {
    Tokens tokens{SyntheticPackage::kBos};
    for (const char c : prompt) {
      tokens.push_back(c - '!');
    }
    return scripted_continuation(tokens, count);
  }

  std::string engine_path() const { return synthetic_.path() + "/llm.engine"; }

  SyntheticPackage synthetic_;
  SessionOptions options_{.engine_library = STANDIN_LIBRARY, .operator_library = PLUGIN_LIBRARY};
};

TEST_F(TensorRtEngineTest, GreedyTokensInChunksAndOnBothProfiles) {
  const Result<Session> session = open(engine_file());
  ASSERT_TRUE(session.ok()) << session.status().message();
  EXPECT_NE(session->describe().find("tensorrt, built against 10.13, cuda"), std::string::npos);
  const auto done = run(*session, {"The-history"}, {.max_tokens = 20});  // 12 tokens, two chunks
  ASSERT_TRUE(done.ok()) << done.status().message();
  EXPECT_EQ((*done)[0].tokens, expected("The-history", 20));
  const std::vector<standin::EnqueuedStep>& steps = standin::steps();
  ASSERT_EQ(steps.size(), 2u + 19u);
  for (std::size_t i = 0; i < steps.size(); ++i) {
    EXPECT_EQ(steps[i].profile, i < 2 ? 0 : 1) << "step " << i;
    EXPECT_EQ(steps[i].tokens, i < 2 ? kMaxInput : 1) << "step " << i;
    EXPECT_EQ(steps[i].caches, steps[0].caches) << "the caches stay where they are, step " << i;
  }
}

TEST_F(TensorRtEngineTest, ARestOfOneTokenRunsAsGeneration) {
  const Result<Session> session = open(engine_file());
  ASSERT_TRUE(session.ok()) << session.status().message();
  const auto done = run(*session, {"abcdef"}, {.max_tokens = 5});  // 6 + 1 tokens
  ASSERT_TRUE(done.ok()) << done.status().message();
  EXPECT_EQ((*done)[0].tokens, expected("abcdef", 5));
  EXPECT_EQ(standin::steps()[1].profile, 1);
}

TEST_F(TensorRtEngineTest, LanesOfABatchGetWhatTheyGetAlone) {
  const Result<Session> session = open(engine_file());
  ASSERT_TRUE(session.ok()) << session.status().message();
  const std::vector<std::string> prompts = {"a", "of-bridges", "The-quick-brown-fox", "xyz"};
  const auto together = run(*session, prompts, {.max_tokens = 15});
  ASSERT_TRUE(together.ok()) << together.status().message();
  for (std::size_t i = 0; i < prompts.size(); ++i) {
    EXPECT_EQ((*together)[i].tokens, expected(prompts[i], 15)) << prompts[i];
  }
  const auto two = run(*session, {"xyz", "a"}, {.max_tokens = 15});  // a context of its own
  ASSERT_TRUE(two.ok()) << two.status().message();
  EXPECT_EQ((*two)[0].tokens, expected("xyz", 15));
  EXPECT_NE(standin::steps().back().caches, standin::steps().front().caches);
}

TEST_F(TensorRtEngineTest, TheSamplerSeesTheLogits) {
  const Result<Session> session = open(engine_file());
  ASSERT_TRUE(session.ok()) << session.status().message();
  // 10 against 0 for 257 others: at temperature 8 most tokens are not the favoured one.
  const GenerateOptions hot{.max_tokens = 30, .temperature = 8.0f, .seed = 5};
  const auto once = run(*session, {"abc"}, hot), again = run(*session, {"abc"}, hot);
  ASSERT_TRUE(once.ok() && again.ok());
  EXPECT_EQ((*once)[0].tokens, (*again)[0].tokens);
  EXPECT_NE((*once)[0].tokens, expected("abc", 30));
  const GenerateOptions first{.max_tokens = 30, .temperature = 8.0f, .top_k = 1, .seed = 5};
  const auto likely = run(*session, {"abc"}, first);
  ASSERT_TRUE(likely.ok());
  EXPECT_EQ((*likely)[0].tokens, expected("abc", 30));
}

TEST_F(TensorRtEngineTest, NoAllocationBehindTheFirstTokens) {
  const Result<Session> session = open(engine_file());
  ASSERT_TRUE(session.ok()) << session.status().message();
  ASSERT_TRUE(run(*session, {"history"}, {.max_tokens = 2}).ok());
  const std::size_t before = fake_cuda_allocations();
  const auto done = run(*session, {"history"}, {.max_tokens = 40});
  ASSERT_TRUE(done.ok()) << done.status().message();
  EXPECT_EQ((*done)[0].tokens, expected("history", 40)) << "the context is used again";
  EXPECT_EQ(fake_cuda_allocations(), before);
}

TEST_F(TensorRtEngineTest, AnEngineOfAnotherGraph) {
  Json engine = engine_file();
  engine["outputs"][0] = "scores";
  EXPECT_EQ(error_of(engine),
            engine_path() + ": the graph lacks the output logits, see docs/package.md");
  engine = engine_file();
  engine["inputs"]["attention_mask"] = engine["inputs"]["last_token_ids"];
  EXPECT_EQ(error_of(engine), engine_path() +
                                  ": the graph has an unknown input attention_mask, "
                                  "see docs/package.md");
  engine = engine_file();
  engine["profiles"] = 1;
  EXPECT_EQ(error_of(engine), engine_path() +
                                  " has 1 optimisation profiles, expected the 2 of "
                                  "`dovetail build`");
}

TEST_F(TensorRtEngineTest, DamagedFiles) {
  write_engine(
      "\x7f"
      "not an engine");
  EXPECT_EQ(open().status().message(),
            "tensorrt: cannot load " + engine_path() + ": the engine file is damaged");
  synthetic_.folder.write("llm.engine", "short");
  EXPECT_NE(open().status().message().find("has 5 bytes, the manifest says"), std::string::npos);
}

TEST_F(TensorRtEngineTest, LibrariesThatAreNot) {
  write_engine(engine_file().dump());
  options_.engine_library = "/nowhere/libnvinfer.so";
  EXPECT_NE(open().status().message().find("TensorRT cannot be opened: /nowhere/libnvinfer.so"),
            std::string::npos);
  options_.engine_library = PLUGIN_LIBRARY;
  EXPECT_EQ(
      open().status().message(),
      std::string(PLUGIN_LIBRARY) + " is not TensorRT: it has no createInferRuntime_INTERNAL");
  options_.engine_library = STANDIN_LIBRARY;
  options_.operator_library = STANDIN_LIBRARY;  // no plugins in it
  EXPECT_EQ(open().status().message(),
            "tensorrt: cannot load " STANDIN_LIBRARY ": it gives no reason");
  options_.operator_library = "/nowhere/libdovetail_tensorrt.so";
  EXPECT_EQ(open().status().message(),
            "the operator library /nowhere/libdovetail_tensorrt.so does not exist");
}

TEST_F(TensorRtEngineTest, WhatTheEngineWasNotBuiltFor) {
  const Result<Session> session = open(engine_file(), 16);  // config.json promises more
  ASSERT_TRUE(session.ok()) << session.status().message();
  const auto done = run(*session, {"The-history"}, {.max_tokens = 2});
  EXPECT_EQ(done.status().message(),
            "tensorrt: cannot take inputs_embeds of shape [1, 12, 4] (was the engine built for "
            "fewer tokens or rows of logits?): inputs_embeds is outside of profile 0, at most "
            "[4,6,4]");
}

TEST_F(TensorRtEngineTest, AFailingStepGivesTheFirstReason) {
  Json engine = engine_file();
  engine["failure"] = "attention: no kernel image for this GPU";
  const Result<Session> session = open(engine);
  ASSERT_TRUE(session.ok()) << session.status().message();
  for (int i = 0; i < 2; ++i) {  // the error is forgotten once it was told
    EXPECT_EQ(run(*session, {"ab"}, {.max_tokens = 2}).status().message(),
              "tensorrt: cannot run the engine: attention: no kernel image for this GPU");
  }
}

TEST_F(TensorRtEngineTest, NoGpuAndNoMemory) {
  const Result<Session> session = open(engine_file());
  ASSERT_TRUE(session.ok()) << session.status().message();
  fake_cuda_limit(6000);  // the scratch memory, and not all caches
  const GenerateOptions two{.max_tokens = 2};
  EXPECT_EQ(run(*session, {"ab"}, two).status().message(),
            "cuda: cannot allocate 512 bytes of GPU memory");
  fake_cuda_limit(0);
  fake_cuda_remove_device(true);
  EXPECT_EQ(run(*session, {"ab"}, two).status().message(),
            "cuda: cannot use a GPU: no CUDA-capable device is detected");
  fake_cuda_remove_device(false);
  EXPECT_TRUE(run(*session, {"ab"}, two).ok());
}

}  // namespace
}  // namespace dovetail
