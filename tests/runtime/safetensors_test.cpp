// SPDX-License-Identifier: Apache-2.0
// Files that tell the truth are read; every way in which a header can lie ends in an error that
// names the file and what is wrong. The oracle is the format's specification.
#include "runtime/safetensors.h"

#include <string>

#include "runtime/temporary_folder.h"

namespace dovetail {
namespace {

// Two fp32 rows and one int64, with the header padded to 8 bytes as writers do.
constexpr const char* kHeader =
    R"({"__metadata__":{"by":"a test"},"a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},)"
    R"("b":{"dtype":"I64","shape":[],"data_offsets":[24,32]}})";

std::string padded(std::string header) {
  header.append((8 - header.size() % 8) % 8, ' ');
  return header;
}

TEST(SafeTensors, ReadsShapesTypesAndData) {
  const TemporaryFolder folder;
  const float values[] = {1, 2, 3, 4, 5, 6.5f};
  std::string data(reinterpret_cast<const char*>(values), sizeof values);
  data += std::string("\x2a\0\0\0\0\0\0\0", 8);
  const auto path = folder.write("m.safetensors", safetensors_bytes(padded(kHeader), data));

  const Result<SafeTensors> file = SafeTensors::open(path);
  ASSERT_TRUE(file.ok()) << file.status().message();
  ASSERT_EQ(file->tensors().size(), 2u);
  const Result<SafeTensor> a = file->find("a");
  ASSERT_TRUE(a.ok());
  EXPECT_EQ(a->desc.type, DataType::kFloat32);
  EXPECT_EQ(a->desc.shape, (Shape{2, 3}));
  EXPECT_EQ(std::memcmp(a->data.data(), values, sizeof values), 0);
  EXPECT_EQ(static_cast<int>(file->find("b")->data[0]), 42);

  const Result<SafeTensor> missing = file->find("c");
  EXPECT_EQ(missing.status().code(), StatusCode::kNotFound);
  EXPECT_NE(missing.status().message().find("no tensor c; it has a, b"), std::string::npos);
}

struct Lie {
  const char* what;
  std::string bytes;
  const char* expected;  // part of the message
};

std::string entry(const char* fields) {
  return padded(std::string("{\"a\":{") + fields + "}}");
}

TEST(SafeTensors, RefusesEveryLie) {
  const std::string data(32, '\0');
  const std::string good = safetensors_bytes(padded(kHeader), data);
  std::string huge_header = good;
  huge_header[7] = '\x7f';
  const Lie lies[] = {
      {"empty file", "", "0 bytes are too few"},
      {"header size alone", good.substr(0, 8), "the header claims"},
      {"cut inside the header", good.substr(0, 40), "the header claims"},
      {"header size of exabytes", huge_header, "the header claims"},
      {"header is not JSON", safetensors_bytes("{\"a\":", ""), "not a JSON object"},
      {"header is a list", safetensors_bytes("[1, 2]  ", ""), "not a JSON object"},
      {"data cut short", good.substr(0, good.size() - 1), "is it truncated?"},
      {"data too long", good + "x", "belong to none"},
      {"size of another shape",
       safetensors_bytes(entry(R"("dtype":"F32","shape":[2,5],"data_offsets":[0,32])"), data),
       "tensor a is [2, 5] of fp32 but has 32 bytes"},
      {"element count overflows",
       safetensors_bytes(
           entry(R"("dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,32])"), data),
       "but has 32 bytes"},
      {"end before begin",
       safetensors_bytes(entry(R"("dtype":"I8","shape":[0],"data_offsets":[8,0])"), data),
       "claims bytes 8 to 0"},
      {"negative offset",
       safetensors_bytes(entry(R"("dtype":"I8","shape":[32],"data_offsets":[-32,0])"), data),
       "without a valid dtype, shape"},
      {"shape of strings",
       safetensors_bytes(entry(R"("dtype":"I8","shape":["32"],"data_offsets":[0,32])"), data),
       "without a valid dtype, shape"},
      {"rank beyond 6",
       safetensors_bytes(entry(R"("dtype":"I8","shape":[1,1,1,1,1,1,32],"data_offsets":[0,32])"),
                         data),
       "without a valid dtype, shape"},
      {"unknown dtype",
       safetensors_bytes(entry(R"("dtype":"F64","shape":[4],"data_offsets":[0,32])"), data),
       "dtype F64"},
      {"hole before the tensor",
       safetensors_bytes(entry(R"("dtype":"I8","shape":[24],"data_offsets":[8,32])"), data),
       "starts at byte 8 of the data, expected 0"},
      {"tensors overlap",
       safetensors_bytes(padded(R"({"a":{"dtype":"I8","shape":[20],"data_offsets":[0,20]},)"
                                R"("b":{"dtype":"I8","shape":[16],"data_offsets":[16,32]}})"),
                         data),
       "starts at byte 16 of the data, expected 20"},
      {"misaligned",
       safetensors_bytes(padded(R"({"a":{"dtype":"I8","shape":[2],"data_offsets":[0,2]},)"
                                R"("b":{"dtype":"F32","shape":[7],"data_offsets":[2,30]}})"),
                         data),
       "multiple of its element size"},
  };
  const TemporaryFolder folder;
  for (const Lie& lie : lies) {
    const auto path = folder.write("m.safetensors", lie.bytes);
    const Result<SafeTensors> file = SafeTensors::open(path);
    ASSERT_FALSE(file.ok()) << lie.what;
    const std::string& message = file.status().message();
    EXPECT_NE(message.find(lie.expected), std::string::npos) << lie.what << ": " << message;
    EXPECT_NE(message.find("m.safetensors"), std::string::npos) << lie.what << ": " << message;
    EXPECT_EQ(message.find('\n'), std::string::npos) << lie.what;
  }
}

TEST(SafeTensors, MissingFileAndFolder) {
  const TemporaryFolder folder;
  EXPECT_EQ(SafeTensors::open(folder.path() / "none").status().code(), StatusCode::kNotFound);
  EXPECT_FALSE(SafeTensors::open(folder.path()).ok());
}

}  // namespace
}  // namespace dovetail
