// SPDX-License-Identifier: Apache-2.0
#include "cuda/int4_gemm_launch.cuh"

namespace dovetail::cuda {

Status prepare_int4_gemm_fp32(const Int4GemmSchedule& s) {
  return prepare_int4_gemm_of<float>(s);
}

Status run_int4_gemm_fp32(const Int4GemmSchedule& s, const Int4GemmBuffers& b, void* stream) {
  return run_int4_gemm_of<float>(s, b, stream);
}

}  // namespace dovetail::cuda
