// SPDX-License-Identifier: Apache-2.0
#include "cuda/swiglu_plan.h"

#include <algorithm>

#include "layout/rounding.h"
#include "ops/message.h"

namespace dovetail::cuda {
namespace {

constexpr std::int64_t kMostRowBlocks = 65535;  // of a grid's second dimension; rows beyond wait

}  // namespace

Result<SwigluSchedule> schedule_swiglu(const SwigluProblem& p, const CudaDevice& device) {
  DOVETAIL_RETURN_IF_ERROR(validate(p));
  if (device.compute_capability < 80) {
    return unsupported("swiglu: the device is sm_", device.compute_capability,
                       ", expected sm_80 or later");
  }
  SwigluSchedule s{.problem = p};
  const std::int64_t width = p.attributes.intermediate_size;
  const std::int64_t per_vector = 16 / static_cast<std::int64_t>(size_of(p.activation_type));
  s.vectors = width % per_vector == 0;
  s.column_blocks = divide_up(width, kSwigluThreads * (s.vectors ? per_vector : 1));
  s.overlap_previous = device.compute_capability >= 90;
  s.row_blocks = std::min(std::max<std::int64_t>(p.m, 1), kMostRowBlocks);
  return s;
}

std::string describe(const SwigluSchedule& s) {
  return concat("swiglu: cuda, ", s.vectors ? "16 bytes" : "1 element", " a thread, grid ",
                s.column_blocks, "x", s.row_blocks);
}

}  // namespace dovetail::cuda
