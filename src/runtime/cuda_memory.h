// SPDX-License-Identifier: Apache-2.0
// GPU memory and a stream, owned. For the TensorRT engine: ONNX Runtime brings its own.
#pragma once

#include <cstddef>
#include <memory>
#include <string_view>

#include "dovetail/status.h"

namespace dovetail {

class CudaMemory {
 public:
  CudaMemory() = default;                                 // null
  static Result<CudaMemory> allocate(std::size_t bytes);  // 0 bytes: null

  void* data() const { return data_.get(); }

 private:
  struct Free {
    void operator()(void* pointer) const;
  };
  explicit CudaMemory(void* data) : data_(data) {}
  std::unique_ptr<void, Free> data_;
};

class CudaStream {
 public:
  static Result<CudaStream> create();

  void* handle() const { return handle_.get(); }  // a cudaStream_t
  // In stream order; host memory may be pageable.
  Status copy_in(void* device, const void* host, std::size_t bytes) const;
  Status copy_out(void* host, const void* device, std::size_t bytes) const;
  Status wait() const;

 private:
  struct Destroy {
    void operator()(void* stream) const;
  };
  explicit CudaStream(void* handle) : handle_(handle) {}
  std::unique_ptr<void, Destroy> handle_;
};

}  // namespace dovetail
