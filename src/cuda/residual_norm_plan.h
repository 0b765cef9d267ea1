// SPDX-License-Identifier: Apache-2.0
// How one ResidualRMSNorm runs on a GPU: pure host code. A block takes a row at a time, a thread 16
// bytes of it (or one element where the width is no multiple of that) and then every threads-th.
// One row, as in decoding, is a matter of latency: its first piece stays in registers between the
// two passes, and the kernel lets the next one start at once, whose weights depend on nothing.
#pragma once

#include <cstdint>
#include <string>

#include "dovetail/cuda.h"
#include "dovetail/residual_norm.h"

namespace dovetail::cuda {

inline constexpr int kMostResidualNormThreads = 1024;

struct ResidualNormSchedule {
  ResidualNormProblem problem;
  bool vectors = false;  // 16 bytes a thread
  std::int64_t threads = 32, blocks = 1;
  bool overlap_previous = false;
};

Result<ResidualNormSchedule> schedule_residual_norm(const ResidualNormProblem& problem,
                                                    const CudaDevice& device);
std::string describe(const ResidualNormSchedule& schedule);

// One launch and nothing else.
Status run_residual_norm(const ResidualNormSchedule& schedule, const ResidualNormBuffers& buffers,
                         void* stream);

}  // namespace dovetail::cuda
