// SPDX-License-Identifier: Apache-2.0
// A buffer whose owner notices strays:
//
//   | guard page | 0xff ... 0xff | data ... | slack 0xff | guard page |
//                                           ^ data end rounded up to the alignment
//
// A read or write behind the data faults when the alignment leaves no slack; writes into slack or
// front zone are found by intact(). Fresh data is 0xff too: NaN as fp32, fp16, bf16 and E4M3, -1 as
// an integer, so an element that a kernel forgets to write, or reads too early, shows as NaN.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <new>
#include <span>

namespace dovetail::test_support {

class GuardedBuffer {
 public:
  static constexpr std::byte kPoison{0xff};

  explicit GuardedBuffer(std::size_t bytes, std::size_t alignment = 4) : size_(bytes) {
    const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
    const std::size_t padded = (bytes + alignment - 1) / alignment * alignment;
    const std::size_t inner = (padded + kFront + page - 1) / page * page;
    mapped_ = inner + 2 * page;
    void* base = mmap(nullptr, mapped_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (base == MAP_FAILED) {
      throw std::bad_alloc();
    }
    base_ = static_cast<std::byte*>(base);
    inner_ = {base_ + page, inner};
    if (mprotect(inner_.data(), inner, PROT_READ | PROT_WRITE) != 0) {
      throw std::bad_alloc();
    }
    data_ = inner_.data() + inner - padded;
    std::fill(inner_.begin(), inner_.end(), kPoison);
  }
  ~GuardedBuffer() { munmap(base_, mapped_); }
  GuardedBuffer(const GuardedBuffer&) = delete;
  GuardedBuffer& operator=(const GuardedBuffer&) = delete;

  std::byte* data() { return data_; }
  const std::byte* data() const { return data_; }
  std::size_t size() const { return size_; }
  std::span<std::byte> bytes() { return {data_, size_}; }
  std::span<const std::byte> bytes() const { return {data_, size_}; }
  template <class T>
  std::span<T> as() {
    return {reinterpret_cast<T*>(data_), size_ / sizeof(T)};
  }
  template <class T>
  std::span<const T> as() const {
    return {reinterpret_cast<const T*>(data_), size_ / sizeof(T)};
  }

  void poison() { std::fill(data_, data_ + size_, kPoison); }

  // No byte around the data has changed.
  bool intact() const {
    const auto untouched = [](std::byte b) { return b == kPoison; };
    return std::all_of(inner_.data(), data_, untouched) &&
           std::all_of(data_ + size_, inner_.data() + inner_.size(), untouched);
  }

 private:
  static constexpr std::size_t kFront = 256;

  std::size_t size_;
  std::size_t mapped_ = 0;
  std::byte* base_ = nullptr;
  std::byte* data_ = nullptr;
  std::span<std::byte> inner_;
};

}  // namespace dovetail::test_support
