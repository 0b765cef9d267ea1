// SPDX-License-Identifier: Apache-2.0
#include "layout/int4_layout.h"

namespace dovetail {

Shape int4_weights_shape(WeightLayout layout, std::int64_t n, std::int64_t k) {
  switch (layout) {
    case WeightLayout::kEdgeLlmV1:
      return {round_up(n, 4) / 2, round_up(k, 64)};
    case WeightLayout::kCpuV1:
      return {round_up(n, 16) / 2, k};
    case WeightLayout::kCudaV1:
      return {round_up(n, 64) / 2, round_up(k, 64)};
  }
  return {};
}

Shape int4_scales_shape(WeightLayout layout, std::int64_t n, std::int64_t k, std::int64_t group) {
  if (layout == WeightLayout::kCpuV1) {
    return {round_up(n, 16) / 16, k / group, 16};
  }
  return {k / group, n};
}

}  // namespace dovetail
