// SPDX-License-Identifier: Apache-2.0
// What a kernel needs from the language: qualifiers, vector types, indices, shared memory.
// A kernel takes one parameter struct by value and is written
//
//     DOVETAIL_KERNEL(256) scale_rows(const DOVETAIL_GRID_CONSTANT ScaleParams p) {
//       DOVETAIL_SHARED(float[256], row_max);            // static shared memory
//       auto* tile = ptx::shared_memory<ptx::Half>();    // dynamic shared memory
//
// Plain loads and stores through plain pointers are fine in both worlds: the host build has the
// compiler announce every memory access to the model (see tests/simt/README.md), so no accessor
// type is needed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

#if defined(DOVETAIL_SIMT_HOST)
#include "simt/model.h"
// The call site travels with every collective, so that a report can name the line of each thread.
#define DOVETAIL_SITE_ONLY ::dovetail::simt::Site site = ::dovetail::simt::Site::current()
#define DOVETAIL_SITE , DOVETAIL_SITE_ONLY
#define DOVETAIL_KERNEL(...) void
#define DOVETAIL_DEVICE inline
#define DOVETAIL_GRID_CONSTANT
#define DOVETAIL_UNROLL
#define DOVETAIL_NO_UNROLL
#define DOVETAIL_SHARED(type, name)                       \
  auto& name = *static_cast<std::type_identity_t<type>*>( \
      ::dovetail::simt::static_shared(#name, __LINE__, sizeof(std::type_identity_t<type>)))
#elif defined(__CUDACC__)
#define DOVETAIL_SITE_ONLY
#define DOVETAIL_SITE
// DOVETAIL_KERNEL(threads per block[, least blocks per multiprocessor])
#define DOVETAIL_KERNEL(...) __global__ void __launch_bounds__(__VA_ARGS__)
#define DOVETAIL_DEVICE __device__ __forceinline__
#define DOVETAIL_GRID_CONSTANT __grid_constant__
#define DOVETAIL_UNROLL _Pragma("unroll")
#define DOVETAIL_NO_UNROLL _Pragma("unroll 1")
#define DOVETAIL_SHARED(type, name) __shared__ ::dovetail::ptx::Identity<type> name
#else
#error "ptx.cuh is for nvcc, or for a C++ compiler with DOVETAIL_SIMT_HOST (the host model)"
#endif

#if defined(__CUDA_ARCH__)
#define DOVETAIL_ARCH (__CUDA_ARCH__ / 10)  // 80 .. 121
#else
#define DOVETAIL_ARCH 0
#endif

namespace dovetail::ptx {

template <class T>
using Identity = std::type_identity_t<T>;

inline constexpr int kWarpSize = 32;

// 8- and 16-byte vectors: one load or store instruction each.
struct alignas(8) Vec2 {
  uint32_t x, y;
};
struct alignas(16) Vec4 {
  uint32_t x, y, z, w;
};
struct alignas(8) Float2 {
  float x, y;
};
struct alignas(16) Float4 {
  float x, y, z, w;
};

#if defined(DOVETAIL_SIMT_HOST)
using Index3 = simt::Size3;
using simt::block_index;
using simt::block_size;
using simt::grid_size;
using simt::thread_index;
#else
struct Index3 {
  uint32_t x = 1, y = 1, z = 1;
};
DOVETAIL_DEVICE Index3 thread_index() {
  return {threadIdx.x, threadIdx.y, threadIdx.z};
}
DOVETAIL_DEVICE Index3 block_index() {
  return {blockIdx.x, blockIdx.y, blockIdx.z};
}
DOVETAIL_DEVICE Index3 block_size() {
  return {blockDim.x, blockDim.y, blockDim.z};
}
DOVETAIL_DEVICE Index3 grid_size() {
  return {gridDim.x, gridDim.y, gridDim.z};
}
#endif

// Lane and warp of a one-dimensional block. Only the order of threads inside a block is assumed
// (warp w = threads 32w .. 32w + 31), which CUDA guarantees.
DOVETAIL_DEVICE uint32_t lane_index() {
  return thread_index().x % kWarpSize;
}
DOVETAIL_DEVICE uint32_t warp_index() {
  return thread_index().x / kWarpSize;
}

// The block's dynamic shared memory, 128-byte aligned; its size is LaunchConfig::shared_bytes.
template <class T>
DOVETAIL_DEVICE T* shared_memory() {
#if defined(DOVETAIL_SIMT_HOST)
  return static_cast<T*>(simt::dynamic_shared());
#else
  extern __shared__ __align__(128) unsigned char dovetail_dynamic_shared[];
  return reinterpret_cast<T*>(dovetail_dynamic_shared);
#endif
}

// Makes the compiler have the value here, and not compute it again or later.
template <class T>
DOVETAIL_DEVICE void have_now([[maybe_unused]] T& value) {
#if !defined(DOVETAIL_SIMT_HOST)
  if constexpr (sizeof(T) == 8) {
    asm volatile("" : "+l"(value));
  } else {
    asm volatile("" : "+r"(value));
  }
#endif
}

#if defined(__CUDACC__)
// The 32-bit shared-window address that PTX instructions take.
DOVETAIL_DEVICE uint32_t shared_address(const void* pointer) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(pointer));
}
#endif

}  // namespace dovetail::ptx
