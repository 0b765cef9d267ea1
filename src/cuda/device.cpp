// SPDX-License-Identifier: Apache-2.0
#include <cuda_runtime_api.h>

#include <map>
#include <mutex>

#include "dovetail/cuda.h"
#include "ops/message.h"

namespace dovetail {
namespace {

Result<CudaDevice> query(int ordinal) {
  cudaError_t error = cudaSuccess;
  const auto attribute = [&](cudaDeviceAttr which) {
    int value = 0;
    if (error == cudaSuccess) error = cudaDeviceGetAttribute(&value, which, ordinal);
    return value;
  };
  CudaDevice device;
  device.compute_capability = 10 * attribute(cudaDevAttrComputeCapabilityMajor) +
                              attribute(cudaDevAttrComputeCapabilityMinor);
  device.multiprocessors = attribute(cudaDevAttrMultiProcessorCount);
  device.shared_memory_bytes = attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin);
  device.l2_bytes = static_cast<std::size_t>(attribute(cudaDevAttrL2CacheSize));
  if (error != cudaSuccess) {
    return unsupported("cuda: device ", ordinal, " cannot be used: ", cudaGetErrorString(error));
  }
  if (device.compute_capability < 80) {
    return unsupported("cuda: device ", ordinal, " is sm_", device.compute_capability,
                       ", expected sm_80 or later");
  }
  return device;
}

}  // namespace

Result<CudaDevice> cuda_device(int ordinal) {
  if (ordinal == kCurrentCudaDevice) {
    if (const cudaError_t error = cudaGetDevice(&ordinal); error != cudaSuccess) {
      return unsupported("cuda: no device: ", cudaGetErrorString(error));
    }
  }
  static std::mutex mutex;
  static std::map<int, CudaDevice> known;
  const std::lock_guard lock(mutex);
  if (const auto found = known.find(ordinal); found != known.end()) return found->second;
  Result<CudaDevice> device = query(ordinal);
  if (device.ok()) known.emplace(ordinal, *device);
  return device;
}

}  // namespace dovetail
