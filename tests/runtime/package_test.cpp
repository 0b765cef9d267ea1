// SPDX-License-Identifier: Apache-2.0
// A whole package opens; every damaged one is refused in one sentence that names the file or field.
#include "runtime/package.h"

#include <functional>

#include "runtime/synthetic_package.h"

namespace dovetail {
namespace {

TEST(Package, Opens) {
  const SyntheticPackage synthetic(32);
  const Result<Package> package = Package::open(synthetic.path());
  ASSERT_TRUE(package.ok()) << package.status().message();
  const Manifest& m = package->manifest;
  EXPECT_EQ(m.engine, "onnxruntime");
  EXPECT_EQ(m.activation_type, DataType::kFloat32);
  EXPECT_EQ(m.kv_type, DataType::kFloat16);
  EXPECT_EQ(m.capacity, 32);
  EXPECT_EQ(m.max_batch, 8);
  EXPECT_FALSE(m.tree);
  EXPECT_EQ(m.model.vocab_size, 258);
  EXPECT_EQ(m.model.rotary_width, 2);
  EXPECT_EQ(m.weights, "int4 g32 cpu_v1");
  EXPECT_EQ(m.bos_token_id, 256);
  EXPECT_EQ(m.eos_token_ids, (std::vector<std::int32_t>{257}));
  EXPECT_EQ(package->embedding.desc.shape, (Shape{258, 4}));
  EXPECT_EQ(package->rope_table.desc.shape, (Shape{1, 32, 2}));
}

TEST(Package, CacheTypesHaveTheNamesOfTheExporter) {
  SyntheticPackage synthetic;
  for (const auto& [name, type] :
       {std::pair("fp32", DataType::kFloat32), std::pair("fp16", DataType::kFloat16),
        std::pair("bf16", DataType::kBFloat16), std::pair("fp8", DataType::kFloat8E4M3)}) {
    synthetic.manifest["kv_dtype"] = name;
    synthetic.write();
    const Result<Package> package = Package::open(synthetic.path());
    ASSERT_TRUE(package.ok()) << package.status().message();
    EXPECT_EQ(package->manifest.kv_type, type);
  }
}

TEST(Package, BosMayBeAbsent) {
  SyntheticPackage synthetic;
  synthetic.manifest["bos_token_id"] = nullptr;
  synthetic.write();
  EXPECT_FALSE(Package::open(synthetic.path())->manifest.bos_token_id.has_value());
}

struct Damage {
  const char* what;
  std::function<void(SyntheticPackage&)> apply;
  const char* expected;  // part of the message
};

void edit(SyntheticPackage& p, const char* pointer, nlohmann::json value) {
  p.manifest[nlohmann::json::json_pointer(pointer)] = std::move(value);
  p.write();
}

TEST(Package, RefusesDamage) {
  using P = SyntheticPackage;
  namespace fs = std::filesystem;
  const Damage cases[] = {
      {"newer version", [](P& p) { edit(p, "/version", 2); },
       "the package has version 2 (written by dovetail 0.1.0), but this runtime reads versions up "
       "to 1"},
      {"another format", [](P& p) { edit(p, "/format", "gguf"); }, "format is not"},
      {"no manifest", [](P& p) { fs::remove(p.folder.path() / "manifest.json"); },
       "has no manifest.json"},
      {"manifest cut", [](P& p) { p.folder.write("manifest.json", R"({"format": "dove)"); },
       "not a JSON object"},
      {"field missing",
       [](P& p) {
         p.manifest.erase("capacity");
         p.write();
       },
       "capacity is missing, expected an integer"},
      {"field mistyped", [](P& p) { edit(p, "/model/layers", "six"); },
       "model.layers is \"six\", expected an integer"},
      {"field out of range", [](P& p) { edit(p, "/capacity", 0); }, "capacity is 0, expected"},
      {"field absurd", [](P& p) { edit(p, "/capacity", 18446744073709551615u); },
       "capacity is 18446744073709551615, expected"},
      {"unknown type", [](P& p) { edit(p, "/dtype", "fp64"); },
       "dtype is \"fp64\", expected one of fp32, fp16, bf16"},
      {"end-of-text id beyond the vocabulary", [](P& p) { edit(p, "/eos_token_ids", {258}); },
       "eos_token_ids is [258], expected a list of token ids below vocab_size = 258"},
      {"file outside the folder",
       [](P& p) {
         edit(p, "/files", {{"../secret", 1}});
       },
       "plain file names"},
      {"weights missing", [](P& p) { fs::remove(p.folder.path() / "model.onnx.data"); },
       "model.onnx.data is missing: the manifest lists it"},
      {"weights truncated", [](P& p) { fs::resize_file(p.folder.path() / "model.onnx.data", 3); },
       "model.onnx.data has 3 bytes, the manifest says 7"},
      {"tokenizer in neither place",
       [](P& p) {
         fs::remove(p.folder.path() / "tokenizer.json");
         p.manifest["files"].erase("tokenizer.json");
         p.write();
       },
       "tokenizer.json is missing, a package needs it"},
      {"embedding of another model", [](P& p) { edit(p, "/model/vocab_size", 300); },
       "embedding is [258, 4], expected [vocab_size, hidden_size] = [300, 4]"},
      {"table of another capacity", [](P& p) { edit(p, "/capacity", 128); },
       "rope_rotary_cos_sin is [1, 64, 2] of fp32, expected [1, capacity, rotary_width] = [1, 128, "
       "2]"},
      {"embedding under another name",
       [](P& p) {
         p.write_tensor("embedding.safetensors", "embeddinX", {258, 4},
                        std::vector<float>(258 * 4));
       },
       "no tensor embedding; it has embeddinX"},
  };
  for (const Damage& damage : cases) {
    SyntheticPackage synthetic;
    damage.apply(synthetic);
    const Result<Package> package = Package::open(synthetic.path());
    ASSERT_FALSE(package.ok()) << damage.what;
    const std::string& message = package.status().message();
    EXPECT_NE(message.find(damage.expected), std::string::npos) << damage.what << ": " << message;
    EXPECT_EQ(message.find('\n'), std::string::npos) << damage.what;
  }
}

TEST(Package, FolderMustExist) {
  EXPECT_EQ(Package::open("/nowhere/at/all").status().code(), StatusCode::kNotFound);
}

}  // namespace
}  // namespace dovetail
