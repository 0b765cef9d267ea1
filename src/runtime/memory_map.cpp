// SPDX-License-Identifier: Apache-2.0
#include "runtime/memory_map.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "ops/message.h"

namespace dovetail {
namespace {

struct Descriptor {
  int value = -1;
  ~Descriptor() {
    if (value >= 0) {
      ::close(value);
    }
  }
};

}  // namespace

Result<MemoryMap> MemoryMap::open(const std::filesystem::path& path) {
  const Descriptor file{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
  if (file.value < 0) {
    return not_found("cannot open ", path.string(), ": ", std::strerror(errno));
  }
  struct stat info {};
  if (::fstat(file.value, &info) != 0) {
    return not_found("cannot read the size of ", path.string(), ": ", std::strerror(errno));
  }
  if (!S_ISREG(info.st_mode)) {
    return invalid_argument(path.string(), " is not a regular file");
  }
  const auto size = static_cast<std::size_t>(info.st_size);
  if (size == 0) {
    return MemoryMap({});
  }
  void* address = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file.value, 0);
  if (address == MAP_FAILED) {
    return resource_exhausted("cannot map ", path.string(), " (", size,
                              " bytes): ", std::strerror(errno));
  }
  return MemoryMap({static_cast<const std::byte*>(address), size});
}

MemoryMap::MemoryMap(MemoryMap&& other) noexcept : bytes_(std::exchange(other.bytes_, {})) {}

MemoryMap& MemoryMap::operator=(MemoryMap&& other) noexcept {
  std::swap(bytes_, other.bytes_);
  return *this;
}

MemoryMap::~MemoryMap() {
  if (!bytes_.empty()) {
    ::munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
  }
}

}  // namespace dovetail
