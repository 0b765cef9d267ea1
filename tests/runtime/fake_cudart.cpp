// SPDX-License-Identifier: Apache-2.0
// The calls of the CUDA runtime that python/dovetail/run/cuda.py makes, on host memory: a stand-in
// for tests of that module where no GPU is (tests/python/fake_tensorrt). It knows what is
// allocated, and fails like CUDA when a copy leaves it.
#include <cstdlib>
#include <cstring>
#include <map>

namespace {

constexpr int kSuccess = 0;
constexpr int kInvalidValue = 1;
constexpr int kHostToDevice = 1;

std::map<const char*, std::size_t>& allocations() {
  static std::map<const char*, std::size_t> known;
  return known;
}

bool on_device(const void* pointer, std::size_t bytes) {
  const auto* at = static_cast<const char*>(pointer);
  auto next = allocations().upper_bound(at);
  if (next == allocations().begin()) {
    return false;
  }
  --next;
  return at + bytes <= next->first + next->second;
}

}  // namespace

extern "C" {

int cudaMalloc(void** pointer, std::size_t bytes) {
  *pointer = std::malloc(bytes);
  std::memset(*pointer, 0xff, bytes);  // NaN, as fresh memory may hold
  allocations()[static_cast<const char*>(*pointer)] = bytes;
  return kSuccess;
}

int cudaFree(void* pointer) {
  if (allocations().erase(static_cast<const char*>(pointer)) == 0) {
    return kInvalidValue;
  }
  std::free(pointer);
  return kSuccess;
}

int cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, int kind, void*) {
  if (!on_device(kind == kHostToDevice ? to : from, bytes)) {
    return kInvalidValue;
  }
  std::memcpy(to, from, bytes);
  return kSuccess;
}

int cudaStreamCreateWithFlags(void** stream, unsigned) {
  *stream = reinterpret_cast<void*>(1);
  return kSuccess;
}

int cudaStreamSynchronize(void*) {
  return kSuccess;
}

const char* cudaGetErrorString(int) {
  return "invalid argument";
}
}
