// SPDX-License-Identifier: Apache-2.0
#include "cuda/launch.cuh"
#include "cuda/pointwise_launch.cuh"
#include "cuda/swiglu_kernel.cuh"

namespace dovetail::cuda {

Status run_swiglu(const SwigluSchedule& s, const SwigluBuffers& b, void* stream) {
  const SwigluProblem& p = s.problem;
  if (p.m == 0) return Status::success();
  DOVETAIL_RETURN_IF_ERROR(check_pointers("swiglu",
                                          activation_alignment(s.vectors, p.activation_type),
                                          {{"gate_up", b.gate_up}, {"output", b.output}}));
  const SwigluArguments arguments{b.gate_up, b.output, p.m, p.attributes.intermediate_size};
  const LaunchConfig config{.grid = {static_cast<std::uint32_t>(s.column_blocks),
                                     static_cast<std::uint32_t>(s.row_blocks)},
                            .block = {kSwigluThreads},
                            .stream = stream,
                            .overlap_previous = s.overlap_previous};
  return launch_of(p.activation_type, s.vectors, [&]<class T, bool kVectors>() {
    return launch(swiglu_kernel<T, kVectors>, config, arguments);
  });
}

}  // namespace dovetail::cuda
