// SPDX-License-Identifier: Apache-2.0
// DeviceBuffer<T>: memory that a kernel sees. On the SIMT host model it is a simt::Buffer, on a GPU
// (DOVETAIL_ON_GPU) cudaMalloc. Constructed from values, or from a count and then full of 0xff.
#pragma once

#if defined(DOVETAIL_ON_GPU)
#include <cuda_runtime_api.h>

#include <span>
#include <stdexcept>
#include <vector>
#else
#include "simt/memory.h"
#endif

namespace dovetail::test_support {

#if defined(DOVETAIL_ON_GPU)

inline void require(cudaError_t error) {
  if (error != cudaSuccess) throw std::runtime_error(cudaGetErrorString(error));
}

template <class T>
class DeviceBuffer {
 public:
  explicit DeviceBuffer(size_t count) : size_(count) {
    if (count == 0) return;
    require(cudaMalloc(reinterpret_cast<void**>(&data_), count * sizeof(T)));
    require(cudaMemset(data_, 0xff, count * sizeof(T)));
  }
  explicit DeviceBuffer(std::span<const T> values) : DeviceBuffer(values.size()) {
    if (size_ != 0)
      require(cudaMemcpy(data_, values.data(), values.size_bytes(), cudaMemcpyDefault));
  }
  explicit DeviceBuffer(const std::vector<T>& values) : DeviceBuffer(std::span<const T>(values)) {}
  DeviceBuffer(const DeviceBuffer&) = delete;
  DeviceBuffer& operator=(const DeviceBuffer&) = delete;
  ~DeviceBuffer() { cudaFree(data_); }

  T* data() const { return data_; }
  size_t size() const { return size_; }
  std::vector<T> read() const {
    std::vector<T> values(size_);
    require(cudaDeviceSynchronize());
    if (size_ != 0) require(cudaMemcpy(values.data(), data_, size_ * sizeof(T), cudaMemcpyDefault));
    return values;
  }

 private:
  T* data_ = nullptr;
  size_t size_;
};

inline void set_block_order(int) {}  // the hardware's

#else

template <class T>
using DeviceBuffer = simt::Buffer<T>;

// 0 forwards, 1 backwards, beyond: shuffled by this seed.
inline void set_block_order(int order) {
  simt::settings().order = static_cast<simt::Order>(order < 2 ? order : 2);
  simt::settings().seed = static_cast<std::uint64_t>(order);
}

#endif

}  // namespace dovetail::test_support
