// SPDX-License-Identifier: Apache-2.0
// A package folder with every file but a real graph: embedding row i is [i, 0, 0, 0], the tokenizer
// has one token a byte. `manifest` may be edited before write().
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "runtime/loaded_model.h"
#include "runtime/scripted_engine.h"
#include "runtime/temporary_folder.h"

namespace dovetail {

class SyntheticPackage {
 public:
  static constexpr int kVocabulary = 258;  // 256 bytes, <bos> = 256, <eos> = 257
  static constexpr int kBos = 256;
  static constexpr int kHidden = 4;

  explicit SyntheticPackage(int capacity = 64, int max_batch = 8) {
    std::vector<float> embedding(static_cast<std::size_t>(kVocabulary * kHidden));
    for (int id = 0; id < kVocabulary; ++id) {
      embedding[static_cast<std::size_t>(id * kHidden)] = static_cast<float>(id);
    }
    write_tensor("embedding.safetensors", "embedding", {kVocabulary, kHidden}, embedding);
    write_tensor("rope.safetensors", "rope_rotary_cos_sin", {1, capacity, 2},
                 std::vector<float>(static_cast<std::size_t>(capacity) * 2, 1.0f));
    folder.write("model.onnx", "not a graph");
    folder.write("model.onnx.data", "weights");
    std::filesystem::copy(DOVETAIL_SOURCE_DIR "/tests/oracle/goldens/llama/plain/tokenizer.json",
                          folder.path());
    manifest = {{"format", "dovetail-package"},
                {"version", 1},
                {"producer", "dovetail 0.1.0"},
                {"engine", "onnxruntime"},
                {"dtype", "fp32"},
                {"kv_dtype", "fp16"},
                {"capacity", capacity},
                {"max_batch", max_batch},
                {"tree", false},
                {"model",
                 {{"family", "llama"},
                  {"layers", 1},
                  {"hidden_size", kHidden},
                  {"vocab_size", kVocabulary},
                  {"num_q_heads", 2},
                  {"num_kv_heads", 1},
                  {"head_size", 2},
                  {"rotary_width", 2}}},
                {"weights", {{"format", "int4"}, {"group_size", 32}, {"layout", "cpu_v1"}}},
                {"bos_token_id", kBos},
                {"eos_token_ids", {257}}};
    for (const auto& file : std::filesystem::directory_iterator(folder.path())) {
      manifest["files"][file.path().filename().string()] = file.file_size();
    }
    write();
  }

  void write() const { folder.write("manifest.json", manifest.dump()); }

  void write_tensor(const std::string& file, const std::string& name, std::vector<int> shape,
                    const std::vector<float>& values) const {
    const std::size_t bytes = values.size() * sizeof(float);
    nlohmann::json header;
    header[name] = {{"dtype", "F32"}, {"shape", shape}, {"data_offsets", {0, bytes}}};
    std::string text = header.dump();
    text.append((8 - text.size() % 8) % 8, ' ');
    folder.write(file,
                 safetensors_bytes(text, {reinterpret_cast<const char*>(values.data()), bytes}));
  }

  std::string path() const { return folder.path().string(); }

  TemporaryFolder folder;
  nlohmann::json manifest;
};

// The package opened, with the scripted engine in place of a real one.
inline std::shared_ptr<LoadedModel> scripted_model(const SyntheticPackage& synthetic,
                                                   Script& script, int prefill_chunk = 512) {
  Result<Package> package = Package::open(synthetic.path());
  EXPECT_TRUE(package.ok()) << package.status().message();
  Result<tokenizer::Tokenizer> tokens =
      tokenizer::Tokenizer::load(synthetic.path() + "/tokenizer.json");
  EXPECT_TRUE(tokens.ok()) << tokens.status().message();
  auto model = std::make_shared<LoadedModel>(std::move(*package),
                                             SessionOptions{.prefill_chunk = prefill_chunk});
  model->tokenizer = std::move(*tokens);
  model->engine = std::make_unique<ScriptedEngine>(model->package, script);
  return model;
}

}  // namespace dovetail
