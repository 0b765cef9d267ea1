// SPDX-License-Identifier: Apache-2.0
// The GPU side of a build without CUDA kernels: planning works, so that engines can be built for
// other machines, and everything that would touch a GPU says why it does not.
#include "cuda/attention_plan.h"
#include "cuda/int4_gemm_plan.h"
#include "cuda/residual_norm_plan.h"
#include "cuda/swiglu_plan.h"
#include "dovetail/cuda.h"

namespace dovetail {
namespace {

Status absent() {
  return {
      StatusCode::kUnsupported,
      "dovetail: this build has no CUDA kernels, expected one configured with -DDOVETAIL_CUDA=ON"};
}

}  // namespace

Result<CudaDevice> cuda_device(int) {
  return absent();
}

namespace cuda {

Status prepare_attention(const AttentionSchedule&) {
  return absent();
}
Status run_attention(const AttentionSchedule&, const AttentionBuffers&, void*) {
  return absent();
}
Status prepare_int4_gemm(const Int4GemmSchedule&) {
  return absent();
}
Status run_int4_gemm(const Int4GemmSchedule&, const Int4GemmBuffers&, void*) {
  return absent();
}

Status run_residual_norm(const ResidualNormSchedule&, const ResidualNormBuffers&, void*) {
  return absent();
}

Status run_swiglu(const SwigluSchedule&, const SwigluBuffers&, void*) {
  return absent();
}

}  // namespace cuda
}  // namespace dovetail
