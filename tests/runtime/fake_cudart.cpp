// SPDX-License-Identifier: Apache-2.0
// A stand-in for the calls of the CUDA runtime that the TensorRT engines make, on host memory, for
// tests where no GPU is: of python/dovetail/run/cuda.py (tests/python/fake_tensorrt) and of
// src/runtime/cuda_memory.cpp (tensorrt_engine_test.cpp). It knows what is allocated and fails like
// CUDA when a copy leaves it. What is copied to the host arrives when the stream is waited for, not
// before.
#include "runtime/fake_cudart.h"

#include <cstdlib>
#include <cstring>
#include <map>
#include <vector>

namespace {

constexpr int kSuccess = 0;
constexpr int kInvalidValue = 1;
constexpr int kOutOfMemory = 2;
constexpr int kNoDevice = 100;
constexpr int kHostToDevice = 1;

struct Copy {
  void* to;
  const void* from;
  std::size_t bytes;
};

struct Device {
  std::map<const char*, std::size_t> allocations;
  std::vector<Copy> pending;  // to the host
  std::size_t allocated = 0, limit = 0, bytes = 0;
  int streams = 0;
  bool removed = false;
};

Device& device() {
  static Device only;
  return only;
}

}  // namespace

extern "C" {

std::size_t fake_cuda_allocations() {
  return device().allocated;
}
std::size_t fake_cuda_live_allocations() {
  return device().allocations.size();
}
int fake_cuda_live_streams() {
  return device().streams;
}
void fake_cuda_limit(std::size_t bytes) {
  device().limit = bytes;
}
void fake_cuda_remove_device(bool removed) {
  device().removed = removed;
}

bool fake_cuda_on_device(const void* pointer, std::size_t bytes) {
  const auto* at = static_cast<const char*>(pointer);
  auto next = device().allocations.upper_bound(at);
  if (next == device().allocations.begin()) {
    return false;
  }
  --next;
  return at + bytes <= next->first + next->second;
}

int cudaMalloc(void** pointer, std::size_t bytes) {
  if (device().limit != 0 && device().bytes + bytes > device().limit) {
    return kOutOfMemory;
  }
  *pointer = std::malloc(bytes);
  std::memset(*pointer, 0xff, bytes);  // NaN, as fresh memory may hold
  device().allocations[static_cast<const char*>(*pointer)] = bytes;
  device().bytes += bytes;
  ++device().allocated;
  return kSuccess;
}

int cudaFree(void* pointer) {
  const auto known = device().allocations.find(static_cast<const char*>(pointer));
  if (pointer != nullptr && known == device().allocations.end()) {
    return kInvalidValue;
  }
  if (pointer != nullptr) {
    device().bytes -= known->second;
    device().allocations.erase(known);
  }
  std::free(pointer);
  return kSuccess;
}

int cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, int kind, void*) {
  if (!fake_cuda_on_device(kind == kHostToDevice ? to : from, bytes)) {
    return kInvalidValue;
  }
  if (kind == kHostToDevice) {
    std::memcpy(to, from, bytes);
  } else {
    device().pending.push_back({to, from, bytes});
  }
  return kSuccess;
}

int cudaStreamCreateWithFlags(void** stream, unsigned) {
  if (device().removed) {
    return kNoDevice;
  }
  *stream = &device();
  ++device().streams;
  return kSuccess;
}

int cudaStreamDestroy(void*) {
  --device().streams;
  return kSuccess;
}

int cudaStreamSynchronize(void*) {
  for (const Copy& copy : device().pending) {
    std::memcpy(copy.to, copy.from, copy.bytes);
  }
  device().pending.clear();
  return kSuccess;
}

const char* cudaGetErrorString(int error) {
  return error == kNoDevice ? "no CUDA-capable device is detected" : "invalid argument";
}
}
