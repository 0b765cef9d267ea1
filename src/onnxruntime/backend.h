// SPDX-License-Identifier: Apache-2.0
// Where a node runs: the execution provider that it is registered for, the device that it is
// planned for, and how one call is started. CPU work runs on the session's intra-op pool, CUDA work
// on the stream that the provider gives to the call; the library has neither threads nor streams.
//
// Both backends are always registered. A build without CUDA kernels refuses a node of the CUDA
// provider with that reason; without a kernel there, ONNX Runtime would run the node on the CPU and
// carry the KV cache back and forth on every step.
#pragma once

#include <onnxruntime_c_api.h>

#include "dovetail/cpu.h"
#include "dovetail/cuda.h"
#include "onnxruntime/node.h"
#include "onnxruntime/status.h"

namespace dovetail::ort {

// ONNX Runtime's intra-op pool as a TaskRunner, for the time of one call.
class SessionTasks {
 public:
  SessionTasks(const OrtApi& api, const OrtKernelContext* context) : api_(api), context_(context) {}

  TaskRunner runner() { return {this, &SessionTasks::parallel_for}; }
  Status status() const { return status_; }

 private:
  static void parallel_for(void* self, std::size_t count, void (*task)(void*, std::size_t),
                           void* arg) {
    auto& tasks = *static_cast<SessionTasks*>(self);
    constexpr std::size_t kNoLimit =
        0;  // every index is a unit of its own: idle threads take the next
    OrtStatus* failed =
        tasks.api_.KernelContext_ParallelFor(tasks.context_, task, count, kNoLimit, arg);
    if (failed != nullptr) {
      tasks.status_ = from_ort(tasks.api_, failed);
    }
  }

  const OrtApi& api_;
  const OrtKernelContext* context_;
  Status status_;
};

struct CpuBackend {
  using Device = CpuDevice;
  static constexpr const char* kProvider = nullptr;  // the CPU provider, to ONNX Runtime

  static Result<Device> device(const Allocator&, int threads) { return cpu_device(threads); }

  // A constant of the graph, before anything of it was read.
  static void keep(const void* data, std::size_t bytes) { prefer_huge_pages(data, bytes); }

  template <class Plan, class Buffers>
  static Status run(const OrtApi& api, const OrtKernelContext* context, const Plan& plan,
                    const Buffers& buffers) {
    SessionTasks tasks(api, context);
    Status status = plan.run(buffers, tasks.runner());
    return tasks.status().ok() ? status : tasks.status();
  }
};

struct CudaBackend {
  using Device = CudaDevice;
  static constexpr const char* kProvider = "CUDAExecutionProvider";

  // The provider's GPU, which need not be the current one while a session is created.
  static Result<Device> device(const Allocator& allocator, int) {
    return cuda_device(allocator.device_ordinal());
  }

  static void keep(const void*, std::size_t) {}

  template <class Plan, class Buffers>
  static Status run(const OrtApi& api, const OrtKernelContext* context, const Plan& plan,
                    const Buffers& buffers) {
    void* stream = nullptr;
    DOVETAIL_RETURN_IF_ERROR(
        from_ort(api, api.KernelContext_GetGPUComputeStream(context, &stream)));
    return plan.run(buffers, stream);
  }
};

}  // namespace dovetail::ort
