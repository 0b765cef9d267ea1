// SPDX-License-Identifier: Apache-2.0
#include <utility>

#include "cuda/launch.cuh"
#include "cuda/swiglu_kernel.cuh"
#include "ops/message.h"

namespace dovetail::cuda {
namespace {

template <class T>
Status launch_of(const SwigluSchedule& s, const LaunchConfig& config,
                 const SwigluArguments& arguments) {
  return s.vectors ? launch(swiglu_kernel<T, true>, config, arguments)
                   : launch(swiglu_kernel<T, false>, config, arguments);
}

}  // namespace

Status run_swiglu(const SwigluSchedule& s, const SwigluBuffers& b, void* stream) {
  const SwigluProblem& p = s.problem;
  if (p.m == 0) return Status::success();
  const std::size_t alignment = s.vectors ? 16 : size_of(p.activation_type);
  for (const auto& [name, pointer] :
       {std::pair("gate_up", b.gate_up), std::pair("output", static_cast<const void*>(b.output))}) {
    if (pointer == nullptr) return invalid_argument("swiglu: ", name, " is null");
    if (reinterpret_cast<std::uintptr_t>(pointer) % alignment != 0) {
      return invalid_argument("swiglu: ", name, " is at ", pointer, ", expected a multiple of ",
                              alignment);
    }
  }
  const SwigluArguments arguments{b.gate_up, b.output, p.m, p.attributes.intermediate_size};
  const LaunchConfig config{.grid = {static_cast<std::uint32_t>(s.column_blocks),
                                     static_cast<std::uint32_t>(s.row_blocks)},
                            .block = {kSwigluThreads},
                            .stream = stream,
                            .overlap_previous = s.overlap_previous};
  switch (p.activation_type) {
    case DataType::kFloat16:
      return launch_of<ptx::Half>(s, config, arguments);
    case DataType::kBFloat16:
      return launch_of<ptx::BFloat16>(s, config, arguments);
    default:
      return launch_of<float>(s, config, arguments);
  }
}

}  // namespace dovetail::cuda
