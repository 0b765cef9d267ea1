// SPDX-License-Identifier: Apache-2.0
// Device memory for tests of kernels on the model. A Buffer is exactly as large as asked for,
// between red zones; a kernel that leaves it, or reads an element nobody wrote, ends the launch
// with an Error.
#pragma once

#include <cstring>
#include <span>
#include <vector>

#include "simt/model.h"

namespace dovetail::simt {

void* allocate_global(size_t bytes, bool initialised);
void free_global(void* pointer, size_t bytes);

template <class T>
class Buffer {
 public:
  // Contents are 0xff bytes (NaN in every float format) and count as never written.
  explicit Buffer(size_t count)
      : data_(static_cast<T*>(allocate_global(count * sizeof(T), false))), size_(count) {}
  explicit Buffer(std::span<const T> values)
      : data_(static_cast<T*>(allocate_global(values.size_bytes(), true))), size_(values.size()) {
    if (!values.empty()) std::memcpy(static_cast<void*>(data_), values.data(), values.size_bytes());
  }
  explicit Buffer(const std::vector<T>& values) : Buffer(std::span<const T>(values)) {}
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  ~Buffer() { free_global(data_, size_ * sizeof(T)); }

  T* data() { return data_; }
  const T* data() const { return data_; }
  size_t size() const { return size_; }
  std::vector<T> read() const { return std::vector<T>(data_, data_ + size_); }

 private:
  T* data_;
  size_t size_;
};

}  // namespace dovetail::simt
