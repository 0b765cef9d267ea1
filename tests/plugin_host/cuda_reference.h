// SPDX-License-Identifier: Apache-2.0
// What the double of the CUDA launches (cuda_reference.cpp) and the tests agree on.
#pragma once

#include <atomic>

namespace dovetail::plugin_host {

// Stands for a cudaStream_t.
struct ReferenceStream {
  std::atomic<int> launches{0};
  std::atomic<bool> broken{false};  // run() then fails like a launch on a dead context
};

// Environment variable; when it is set, the process has no GPU.
inline constexpr char kNoGpu[] = "DOVETAIL_REFERENCE_NO_GPU";

}  // namespace dovetail::plugin_host
