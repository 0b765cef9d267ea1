// SPDX-License-Identifier: Apache-2.0
// Anonymous pages, zero until written: a KV cache for the whole capacity costs memory only where
// tokens lie. No huge pages: one would span several heads' slots and make the empty cache resident.
#pragma once

#include <cstddef>

#include "dovetail/status.h"

namespace dovetail {

class ZeroedMemory {
 public:
  static Result<ZeroedMemory> allocate(std::size_t bytes);

  ZeroedMemory(ZeroedMemory&& other) noexcept;
  ZeroedMemory& operator=(ZeroedMemory&& other) noexcept;
  ~ZeroedMemory();

  std::byte* data() { return data_; }  // page-aligned

 private:
  ZeroedMemory(std::byte* data, std::size_t bytes) : data_(data), bytes_(bytes) {}

  std::byte* data_ = nullptr;
  std::size_t bytes_ = 0;
};

}  // namespace dovetail
