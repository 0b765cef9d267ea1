// SPDX-License-Identifier: Apache-2.0
// The model gives, bit for bit, what a GPU gave for the same kernels and inputs (vectors.h).
#include "simt/vectors.h"

#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <sstream>

#include "simt/memory.h"

namespace dovetail::simt_test {
namespace {

std::map<std::string, std::string> recorded(const std::string& file_name) {
  std::ifstream file(std::string(DOVETAIL_SIMT_DIR) + '/' + file_name);
  std::map<std::string, std::string> hashes;
  for (std::string line; std::getline(file, line);) {
    if (line.empty() || line[0] == '#') continue;
    const size_t space = line.find(' ');
    hashes[line.substr(0, space)] = line.substr(space + 1);
  }
  return hashes;
}

TEST(Vectors, ModelEqualsTheRecordedGpu) {
  const auto expected = recorded("vectors_90.txt");
  Status failed;
  const auto groups = run_groups<simt::Buffer>(has_e4m3_mma(), failed);
  ASSERT_TRUE(failed.ok()) << failed.message();
  ASSERT_GE(groups.size(), expected.size());
  for (const Group& group : groups) {
    std::ostringstream line;
    line << group.words.size() << ' ' << std::hex;
    line.width(16);
    line.fill('0');
    line << hash_of(group.words.data(), group.words.size());
    ASSERT_TRUE(expected.contains(group.name)) << group.name;
    EXPECT_EQ(line.str(), expected.at(group.name)) << group.name;
  }
}

}  // namespace
}  // namespace dovetail::simt_test
