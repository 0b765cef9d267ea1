// SPDX-License-Identifier: Apache-2.0
// Attention has no CUDA kernel yet: its plan says so.
#include "dovetail/cuda.h"
#include "ops/message.h"

namespace dovetail {

struct CudaAttentionPlan::State {};

Result<CudaAttentionPlan> plan(const AttentionProblem&, const CudaDevice&) {
  return unsupported("attention: this version has no CUDA kernels, expected a CPU device");
}
std::size_t CudaAttentionPlan::workspace_bytes() const {
  return 0;
}
std::string CudaAttentionPlan::describe() const {
  return {};
}
Status CudaAttentionPlan::run(const AttentionBuffers&, void*) const {
  return unsupported("attention: this version has no CUDA kernels, expected a CPU device");
}

}  // namespace dovetail
