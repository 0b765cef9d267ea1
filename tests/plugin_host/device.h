// SPDX-License-Identifier: Apache-2.0
// Memory and streams of the device that a plugin library computes on: the SIMT host model inside
// the library (simt_device.cpp), or a GPU (DOVETAIL_ON_GPU).
#pragma once

#include <cstring>
#include <span>
#include <string>
#include <vector>

#if defined(DOVETAIL_ON_GPU)
#include <cuda_runtime_api.h>

#include <stdexcept>
#else
#include <dlfcn.h>
#endif

namespace dovetail::plugin_host {

using Bytes = std::vector<std::byte>;

#if defined(DOVETAIL_ON_GPU)

inline constexpr bool kOnGpu = true;

inline void require(cudaError_t error) {
  if (error != cudaSuccess) throw std::runtime_error(cudaGetErrorString(error));
}

class Device {
 public:
  explicit Device(const char*) {}
  void* allocate(std::size_t bytes, bool) const {
    void* pointer = nullptr;
    require(cudaMalloc(&pointer, bytes));
    require(cudaMemset(pointer, 0xff, bytes));
    return pointer;
  }
  void free(void* pointer, std::size_t) const { cudaFree(pointer); }
  void copy(void* to, const void* from, std::size_t bytes) const {
    require(cudaMemcpy(to, from, bytes, cudaMemcpyDefault));
  }
  void wait() const { require(cudaDeviceSynchronize()); }
};

class Stream {
 public:
  Stream() { require(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking)); }
  ~Stream() { cudaStreamDestroy(stream_); }
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;
  void* handle() const { return stream_; }

 private:
  cudaStream_t stream_ = nullptr;
};

#else

inline constexpr bool kOnGpu = false;

class Device {
 public:
  explicit Device(const char* library) {
    void* handle = ::dlopen(library, RTLD_NOW | RTLD_LOCAL);
    allocate_ = reinterpret_cast<Allocate>(::dlsym(handle, "plugin_host_allocate"));
    free_ = reinterpret_cast<Free>(::dlsym(handle, "plugin_host_free"));
  }
  void* allocate(std::size_t bytes, bool initialised) const {
    return allocate_(bytes, initialised);
  }
  void free(void* pointer, std::size_t bytes) const { free_(pointer, bytes); }
  void copy(void* to, const void* from, std::size_t bytes) const { std::memcpy(to, from, bytes); }
  void wait() const {}

 private:
  using Allocate = void* (*)(std::size_t, bool);
  using Free = void (*)(void*, std::size_t);
  Allocate allocate_;
  Free free_;
};

// The model runs a launch to its end before it returns.
class Stream {
 public:
  void* handle() const { return nullptr; }
};

#endif

// Of exactly this size; 0xff everywhere until something is written. Null when empty.
class DeviceBuffer {
 public:
  DeviceBuffer(const Device& device, std::size_t bytes) : DeviceBuffer(device, bytes, false) {}
  DeviceBuffer(const Device& device, std::span<const std::byte> values)
      : DeviceBuffer(device, values.size(), true) {
    if (size_ > 0) device_.copy(data_, values.data(), size_);
  }
  template <class T>
  DeviceBuffer(const Device& device, const std::vector<T>& values)
      : DeviceBuffer(device, std::as_bytes(std::span(values))) {}
  ~DeviceBuffer() {
    if (data_ != nullptr) device_.free(data_, size_);
  }
  DeviceBuffer(const DeviceBuffer&) = delete;
  DeviceBuffer& operator=(const DeviceBuffer&) = delete;

  void* data() const { return data_; }
  std::size_t size() const { return size_; }
  // After everything that was enqueued.
  Bytes read() const {
    Bytes bytes(size_);
    device_.wait();
    if (size_ > 0) device_.copy(bytes.data(), data_, size_);
    return bytes;
  }

 private:
  DeviceBuffer(const Device& device, std::size_t bytes, bool initialised)
      : device_(device),
        data_(bytes == 0 ? nullptr : device.allocate(bytes, initialised)),
        size_(bytes) {}

  const Device& device_;
  void* data_;
  std::size_t size_;
};

}  // namespace dovetail::plugin_host
