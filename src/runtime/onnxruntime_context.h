// SPDX-License-Identifier: Apache-2.0
// A loaded ONNX Runtime session, and one batch of lanes on it: the caches and the IO binding of a
// step. Each layer's cache is one OrtValue in the device's memory, bound as past and as present; it
// is allocated when the context is made and never again.
//
// On a CPU everything else of a step is bound where it lies. On a GPU (onnxruntime_gpu_context.cpp)
// ONNX Runtime carries a prompt's inputs there and its logits back; a step of one token a lane has
// its tensors in GPU memory for good, so that it runs as a CUDA graph.
#pragma once

#include <memory>
#include <mutex>

#include "runtime/engine.h"
#include "runtime/onnxruntime_handles.h"
#include "runtime/onnxruntime_library.h"

namespace dovetail {

// Handles that live as long as the engine. Destroyed bottom up: the session before its environment.
struct OnnxRuntimeSession {
  explicit OnnxRuntimeSession(const OnnxRuntimeLibrary& opened)
      : library(opened),
        environment(nullptr, opened.api->ReleaseEnv),
        memory(nullptr, opened.api->ReleaseMemoryInfo),
        gpu_memory(nullptr, opened.api->ReleaseMemoryInfo),
        session(nullptr, opened.api->ReleaseSession),
        run_options(nullptr, opened.api->ReleaseRunOptions),
        shrinking_run_options(nullptr, opened.api->ReleaseRunOptions) {}

  OnnxRuntimeLibrary library;
  OrtOwner<OrtEnv> environment;
  OrtOwner<OrtMemoryInfo> memory;      // of the host
  OrtOwner<OrtMemoryInfo> gpu_memory;  // null on the CPU
  OrtOwner<OrtSession> session;
  OrtOwner<OrtRunOptions> run_options;            // on a GPU without CUDA graph
  OrtOwner<OrtRunOptions> shrinking_run_options;  // gives unused arena memory back after the run
  bool cuda_graphs = false;
  // A graph keeps the arena's memory that its recording was given, and the arena gives it to other
  // runs all the same: on a GPU one runs at a time, which costs nothing there.
  mutable std::mutex gpu_run;
};

Result<std::unique_ptr<EngineContext>> make_onnxruntime_context(const OnnxRuntimeSession& session,
                                                                const Package& package,
                                                                std::int64_t batch);
Result<std::unique_ptr<EngineContext>> make_onnxruntime_gpu_context(
    const OnnxRuntimeSession& session, const Package& package, std::int64_t batch);

}  // namespace dovetail
