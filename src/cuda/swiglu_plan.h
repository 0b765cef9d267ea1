// SPDX-License-Identifier: Apache-2.0
// How one SwiGLU runs on a GPU: pure host code. It is bound by memory (three values move for each
// one computed), so there is one kernel: a thread takes 16 bytes of a row's gate and of its up, or
// one element where the width is no multiple of that, and walks the rows.
#pragma once

#include <cstdint>
#include <string>

#include "dovetail/cuda.h"
#include "dovetail/swiglu.h"

namespace dovetail::cuda {

inline constexpr int kSwigluThreads = 256;

struct SwigluSchedule {
  SwigluProblem problem;
  bool vectors = false;  // 16 bytes a thread
  std::int64_t column_blocks = 1, row_blocks = 1;
  bool overlap_previous = false;
};

Result<SwigluSchedule> schedule_swiglu(const SwigluProblem& problem, const CudaDevice& device);
std::string describe(const SwigluSchedule& schedule);

// One launch and nothing else.
Status run_swiglu(const SwigluSchedule& schedule, const SwigluBuffers& buffers, void* stream);

}  // namespace dovetail::cuda
