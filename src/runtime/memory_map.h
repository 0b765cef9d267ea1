// SPDX-License-Identifier: Apache-2.0
// A file as read-only memory. Pages come from the page cache when they are touched, are shared
// between processes and cost no heap. A file that shrinks while it is mapped is outside the
// contract, as in every program that maps files.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>

#include "dovetail/status.h"

namespace dovetail {

class MemoryMap {
 public:
  static Result<MemoryMap> open(const std::filesystem::path& path);

  MemoryMap(MemoryMap&& other) noexcept;
  MemoryMap& operator=(MemoryMap&& other) noexcept;
  ~MemoryMap();

  std::span<const std::byte> bytes() const { return bytes_; }

 private:
  explicit MemoryMap(std::span<const std::byte> bytes) : bytes_(bytes) {}

  std::span<const std::byte> bytes_;  // empty for an empty file
};

}  // namespace dovetail
