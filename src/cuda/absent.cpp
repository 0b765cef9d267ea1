// SPDX-License-Identifier: Apache-2.0
// The CUDA API of a build without CUDA kernels: every entry point says so.
#include "dovetail/cuda.h"

namespace dovetail {
namespace {

Status absent() {
  return {StatusCode::kUnsupported,
          "dovetail: this build has no CUDA kernels, expected one configured with -DDOVETAIL_CUDA=ON"};
}

}  // namespace

struct CudaAttentionPlan::State {};
struct CudaInt4GemmPlan::State {};

Result<CudaDevice> cuda_device(int) { return absent(); }

Result<CudaAttentionPlan> plan(const AttentionProblem&, const CudaDevice&) { return absent(); }
std::size_t CudaAttentionPlan::workspace_bytes() const { return 0; }
std::string CudaAttentionPlan::describe() const { return {}; }
Status CudaAttentionPlan::run(const AttentionBuffers&, void*) const { return absent(); }

Result<CudaInt4GemmPlan> plan(const Int4GemmProblem&, const CudaDevice&) { return absent(); }
std::size_t CudaInt4GemmPlan::workspace_bytes() const { return 0; }
std::string CudaInt4GemmPlan::describe() const { return {}; }
Status CudaInt4GemmPlan::run(const Int4GemmBuffers&, void*) const { return absent(); }

}  // namespace dovetail
