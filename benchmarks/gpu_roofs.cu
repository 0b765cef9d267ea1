// SPDX-License-Identifier: Apache-2.0
// The ceilings that benchmarks/run.py gpu measures beside the operators: how fast memory can be
// read, and what a launch costs. The matrix peak is the peer's own 8192^3 product.
#include <cuda_runtime.h>

#include <chrono>

#include "gpu_operators.h"

namespace {

constexpr int kThreads = 512;
constexpr int kLoads = 8;  // 16 bytes each, all in flight: 64 KiB a block
constexpr std::size_t kBlockBytes = std::size_t{kThreads} * kLoads * sizeof(uint4);

__global__ void __launch_bounds__(kThreads) read_everything(const uint4* data, unsigned* sink) {
  data += std::size_t{blockIdx.x} * kThreads * kLoads + threadIdx.x;
  uint4 values[kLoads];
#pragma unroll
  for (int i = 0; i < kLoads; ++i) values[i] = __ldcs(data + i * kThreads);
  unsigned all = 0;
#pragma unroll
  for (int i = 0; i < kLoads; ++i) all ^= values[i].x ^ values[i].y ^ values[i].z ^ values[i].w;
  if (all == 0x5eed1e55) *sink = all;  // keeps the loads
}

__global__ void do_nothing() {}

}  // namespace

int dovetail_launch_read(const void* data, std::size_t bytes, void* sink, void* stream) {
  read_everything<<<static_cast<unsigned>(bytes / kBlockBytes), kThreads, 0,
                    static_cast<cudaStream_t>(stream)>>>(static_cast<const uint4*>(data),
                                                         static_cast<unsigned*>(sink));
  return cudaGetLastError() == cudaSuccess ? 0 : 1;
}

int dovetail_launch_empty(void* stream) {
  do_nothing<<<1, 32, 0, static_cast<cudaStream_t>(stream)>>>();
  return cudaGetLastError() == cudaSuccess ? 0 : 1;
}

double dovetail_host_seconds_empty(void* stream, int calls) {
  cudaLaunchAttribute overlap{};
  overlap.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  overlap.val.programmaticStreamSerializationAllowed = 1;
  cudaLaunchConfig_t config{};
  config.gridDim = 1, config.blockDim = 32;
  config.stream = static_cast<cudaStream_t>(stream);
  config.attrs = &overlap, config.numAttrs = 1;
  const auto start = std::chrono::steady_clock::now();
  for (int i = 0; i < calls; ++i) {
    if (cudaLaunchKernelEx(&config, do_nothing) != cudaSuccess) return -1;
  }
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}
