// SPDX-License-Identifier: Apache-2.0
// A loaded ONNX Runtime session, and one batch of lanes on it: the caches and the IO binding of a
// step. Each layer's cache is one OrtValue in the device's memory, bound as past and as present; it
// is allocated when the context is made and never again. Everything else of a step is bound where
// it lies in host memory: ONNX Runtime carries the few inputs to a GPU and the logits back.
#pragma once

#include <memory>

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
        session(nullptr, opened.api->ReleaseSession),
        gpu(nullptr, opened.api->ReleaseAllocator),
        run_options(nullptr, opened.api->ReleaseRunOptions),
        shrinking_run_options(nullptr, opened.api->ReleaseRunOptions) {}

  OnnxRuntimeLibrary library;
  OrtOwner<OrtEnv> environment;
  OrtOwner<OrtMemoryInfo> memory;  // of the host
  OrtOwner<OrtSession> session;
  OrtOwner<OrtAllocator> gpu;  // the session's GPU memory; null on the CPU
  OrtOwner<OrtRunOptions> run_options;
  OrtOwner<OrtRunOptions> shrinking_run_options;  // gives unused arena memory back after the run
};

Result<std::unique_ptr<EngineContext>> make_onnxruntime_context(const OnnxRuntimeSession& session,
                                                                const Package& package,
                                                                std::int64_t batch);

}  // namespace dovetail
