// SPDX-License-Identifier: Apache-2.0
#include "cuda/launch.cuh"
#include "cuda/pointwise_launch.cuh"
#include "cuda/residual_norm_kernel.cuh"

namespace dovetail::cuda {

Status run_residual_norm(const ResidualNormSchedule& s, const ResidualNormBuffers& b,
                         void* stream) {
  const ResidualNormProblem& p = s.problem;
  if (p.m == 0) return Status::success();
  DOVETAIL_RETURN_IF_ERROR(check_pointers("residual_norm",
                                          activation_alignment(s.vectors, p.activation_type),
                                          {{"x", b.x},
                                           {"residual", b.residual},
                                           {"weight", b.weight},
                                           {"normed", b.normed},
                                           {"sum", b.sum}}));
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
  return launch_of(p.activation_type, s.vectors, [&]<class T, bool kVectors>() {
    return launch(residual_norm_kernel<T, kVectors>, config, arguments);
  });
}

}  // namespace dovetail::cuda
