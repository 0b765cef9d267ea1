// SPDX-License-Identifier: Apache-2.0
// The one way a kernel is started: launch(kernel, config, parameters). On a GPU this is one
// cudaLaunchKernelEx and nothing else (safe in a graph capture); on the host model it runs the same
// kernel on fibers. prepare() belongs to plan or load time: it lifts the 48 KB limit of dynamic
// shared memory for a kernel.
#pragma once

#include <string>

#include "cuda/ptx/platform.cuh"
#include "dovetail/status.h"

namespace dovetail::cuda {

struct LaunchConfig {
  ptx::Index3 grid;
  ptx::Index3 block;
  uint32_t shared_bytes = 0;    // dynamic shared memory
  uint32_t cluster_blocks = 1;  // neighbours along x in one cluster (ptx/cluster.cuh), sm_90 on
  void* stream = nullptr;       // cudaStream_t
  bool overlap_previous =
      false;  // may start before the stream's previous kernel is done (sm_90 on)
};

#if defined(DOVETAIL_SIMT_HOST)

template <class Parameters>
Status prepare(void (*)(Parameters), uint32_t, uint32_t = 1) {
  return Status::success();
}

template <class Parameters>
Status launch(void (*kernel)(Parameters), const LaunchConfig& c, const Parameters& parameters) {
  simt::launch({.grid = c.grid,
                .block = c.block,
                .shared_bytes = c.shared_bytes,
                .cluster_blocks = c.cluster_blocks,
                .overlap_previous = c.overlap_previous},
               [&] { kernel(parameters); });
  return Status::success();
}

#else

inline Status cuda_status(const char* what, cudaError_t error) {
  if (error == cudaSuccess) return Status::success();
  return {StatusCode::kInternal, std::string(what) + ": " + cudaGetErrorString(error)};
}

template <class Parameters>
Status prepare(void (*kernel)(Parameters), uint32_t shared_bytes, uint32_t cluster_blocks = 1) {
  if (cluster_blocks > 8) {
    DOVETAIL_RETURN_IF_ERROR(cuda_status(
        "allowing a kernel clusters of 16",
        cudaFuncSetAttribute(kernel, cudaFuncAttributeNonPortableClusterSizeAllowed, 1)));
  }
  return cuda_status("setting a kernel's shared memory",
                     cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                          static_cast<int>(shared_bytes)));
}

template <class Parameters>
Status launch(void (*kernel)(Parameters), const LaunchConfig& c, const Parameters& parameters) {
  cudaLaunchAttribute attributes[2]{};
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(c.grid.x, c.grid.y, c.grid.z);
  config.blockDim = dim3(c.block.x, c.block.y, c.block.z);
  config.dynamicSmemBytes = c.shared_bytes;
  config.stream = static_cast<cudaStream_t>(c.stream);
  config.attrs = attributes;
  if (c.overlap_previous) {
    cudaLaunchAttribute& overlap = attributes[config.numAttrs++];
    overlap.id = cudaLaunchAttributeProgrammaticStreamSerialization;
    overlap.val.programmaticStreamSerializationAllowed = 1;
  }
  if (c.cluster_blocks > 1) {
    cudaLaunchAttribute& cluster = attributes[config.numAttrs++];
    cluster.id = cudaLaunchAttributeClusterDimension;
    cluster.val.clusterDim = {c.cluster_blocks, 1, 1};
  }
  return cuda_status("kernel launch", cudaLaunchKernelEx(&config, kernel, parameters));
}

#endif

}  // namespace dovetail::cuda
