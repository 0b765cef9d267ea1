// SPDX-License-Identifier: Apache-2.0
// The CUDA operators as a C interface, so that benchmarks/run.py gpu can call them inside the
// process that holds the peers, on the peers' stream and inside the peers' CUDA graphs. Types and
// layouts are integers with the values of the C++ enums; gpu_operators.py mirrors the structs.
// Not a product interface: it is built with the benchmarks and installed nowhere.
#pragma once

#include <cstddef>
#include <cstdint>

#include "dovetail/cuda.h"

#define DOVETAIL_BENCHMARK_API extern "C" __attribute__((visibility("default")))

struct BenchmarkPlan;  // a plan of either operator

// `capability` 80 plans for an sm_80 of this GPU's size, so without what only this GPU has; 0: no.
struct BenchmarkInt4Gemm {
  std::int32_t m, n, k, group_size, layout, activation_type, scale_type, zero_points, capability;
};

struct BenchmarkAttention {
  std::int32_t q_heads, kv_heads, head_size, mode, activation_type, cache_type, capability;
  std::int64_t batch, tokens, capacity;
};

// Null on failure; `text` (of kTextBytes) then says why, else it is the plan's description.
inline constexpr std::size_t kTextBytes = 1024;
DOVETAIL_BENCHMARK_API BenchmarkPlan* dovetail_plan_int4_gemm(const BenchmarkInt4Gemm* call,
                                                              char* text);
DOVETAIL_BENCHMARK_API BenchmarkPlan* dovetail_plan_attention(const BenchmarkAttention* call,
                                                              char* text);
DOVETAIL_BENCHMARK_API void dovetail_release(BenchmarkPlan* plan);
DOVETAIL_BENCHMARK_API std::size_t dovetail_workspace_bytes(const BenchmarkPlan* plan);

// `buffers` is Int4GemmBuffers or AttentionBuffers. 0 or 1, and then `text` says why.
DOVETAIL_BENCHMARK_API int dovetail_run(const BenchmarkPlan* plan, const void* buffers,
                                        void* stream, char* text);
// Seconds of host time that `calls` calls take, while the GPU works them off behind.
DOVETAIL_BENCHMARK_API double dovetail_host_seconds(const BenchmarkPlan* plan, const void* buffers,
                                                    void* stream, int calls);

// Kernels that a call launches; 0 when it cannot be told.
DOVETAIL_BENCHMARK_API int dovetail_launch_count(const BenchmarkPlan* plan, const void* buffers,
                                                 void* stream);

// codes [N, K] bytes, scales [N, K/G] fp32, zero_points [N, K/G] or null; packed buffers on the
// host, of the sizes of weights_shape() and scales_shape(), which sizes[0] and [1] receive when
// the other pointers are null.
struct BenchmarkPack {
  std::int64_t n, k, group_size;
  std::int32_t layout, scale_type;
  const std::uint8_t* codes;
  const float* scales;
  const std::uint8_t* zero_points;
  std::byte* packed_weights;
  std::byte* packed_scales;
  std::byte* packed_zero_points;
};
DOVETAIL_BENCHMARK_API int dovetail_pack(const BenchmarkPack* pack, std::int64_t* sizes,
                                         char* text);

// gpu_roofs.cu: reads every byte once (a multiple of 64 KiB); does nothing, once or many times, the
// latter launched as our kernels are.
DOVETAIL_BENCHMARK_API int dovetail_launch_read(const void* data, std::size_t bytes, void* sink,
                                                void* stream);
DOVETAIL_BENCHMARK_API int dovetail_launch_empty(void* stream);
DOVETAIL_BENCHMARK_API double dovetail_host_seconds_empty(void* stream, int calls);
