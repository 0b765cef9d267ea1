// SPDX-License-Identifier: Apache-2.0
// prefer_huge_pages as the kernel has understood it: the flag "hg" of a mapping in
// /proc/self/smaps. What becomes of the wish is the kernel's and the file system's.
#include <gtest/gtest.h>
#include <sys/mman.h>

#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

#include "dovetail/cpu.h"

namespace dovetail {
namespace {

constexpr std::size_t kMegabyte = std::size_t{1} << 20;

// Whether the mapping that holds `address` is marked.
bool is_marked(const void* address) {
  std::ifstream maps("/proc/self/smaps");
  bool inside = false;
  for (std::string line; std::getline(maps, line);) {
    std::uintptr_t begin = 0, end = 0;
    char dash = 0;
    std::istringstream head(line);
    if (head >> std::hex >> begin >> dash >> end && dash == '-') {
      const auto at = reinterpret_cast<std::uintptr_t>(address);
      inside = begin <= at && at < end;
    } else if (inside && line.starts_with("VmFlags:")) {
      return line.find(" hg") != std::string::npos;
    }
  }
  ADD_FAILURE() << "no mapping holds " << address;
  return false;
}

TEST(PreferHugePages, MarksWhatIsLargeAndNothingElse) {
  if (!std::filesystem::exists("/sys/kernel/mm/transparent_hugepage")) {
    std::cout << "skipped: this kernel has no transparent huge pages\n";
    return;
  }
  const auto map = [] {
    return static_cast<std::byte*>(
        ::mmap(nullptr, 16 * kMegabyte, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  };
  std::byte* data = map();
  prefer_huge_pages(data, kMegabyte);  // smaller than a huge page
  EXPECT_FALSE(is_marked(data));
  prefer_huge_pages(data + 4 * kMegabyte + 100, 5 * kMegabyte);
  EXPECT_FALSE(is_marked(data + 4 * kMegabyte - 1));
  EXPECT_TRUE(is_marked(data + 4 * kMegabyte));
  EXPECT_TRUE(is_marked(data + 9 * kMegabyte + 99));
  EXPECT_FALSE(is_marked(data + 9 * kMegabyte + 4096));
  ::munmap(data, 16 * kMegabyte);
}

}  // namespace
}  // namespace dovetail
