// SPDX-License-Identifier: Apache-2.0
#include <utility>

#include "cuda/launch.cuh"
#include "cuda/residual_norm_kernel.cuh"
#include "ops/message.h"

namespace dovetail::cuda {
namespace {

template <class T>
Status launch_of(const ResidualNormSchedule& s, const LaunchConfig& config,
                 const ResidualNormArguments& arguments) {
  return s.vectors ? launch(residual_norm_kernel<T, true>, config, arguments)
                   : launch(residual_norm_kernel<T, false>, config, arguments);
}

}  // namespace

Status run_residual_norm(const ResidualNormSchedule& s, const ResidualNormBuffers& b,
                         void* stream) {
  const ResidualNormProblem& p = s.problem;
  if (p.m == 0) return Status::success();
  const std::size_t alignment = s.vectors ? 16 : size_of(p.activation_type);
  for (const auto& [name, pointer] :
       {std::pair("x", b.x), std::pair("residual", b.residual), std::pair("weight", b.weight),
        std::pair("normed", static_cast<const void*>(b.normed)),
        std::pair("sum", static_cast<const void*>(b.sum))}) {
    if (pointer == nullptr) return invalid_argument("residual_norm: ", name, " is null");
    if (reinterpret_cast<std::uintptr_t>(pointer) % alignment != 0) {
      return invalid_argument("residual_norm: ", name, " is at ", pointer,
                              ", expected a multiple of ", alignment);
    }
  }
  if (p.attributes.has_rows != 0 && b.rows == nullptr) {
    return invalid_argument("residual_norm: rows is null");
  }
  const ResidualNormArguments arguments{.x = b.x,
                                        .residual = b.residual,
                                        .weight = b.weight,
                                        .rows = p.attributes.has_rows != 0 ? b.rows : nullptr,
                                        .normed = b.normed,
                                        .sum = b.sum,
                                        .m = p.m,
                                        .hidden = p.hidden,
                                        .tokens = p.tokens,
                                        .rows_per_lane = p.rows_per_lane,
                                        .per_hidden = 1.0f / static_cast<float>(p.hidden),
                                        .epsilon = p.attributes.epsilon};
  const LaunchConfig config{.grid = {static_cast<std::uint32_t>(s.blocks)},
                            .block = {static_cast<std::uint32_t>(s.threads)},
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
