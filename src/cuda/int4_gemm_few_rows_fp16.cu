// SPDX-License-Identifier: Apache-2.0
#include "cuda/int4_gemm_few_rows_launch.cuh"

namespace dovetail::cuda {

Status prepare_int4_gemm_few_rows_fp16(const Int4GemmSchedule& s) {
  return prepare(find_int4_gemm_few_rows_kernel<ptx::Half>(s),
                 static_cast<uint32_t>(s.shared_bytes));
}

Status run_int4_gemm_few_rows_fp16(const Int4GemmSchedule& s, const Int4GemmBuffers& b,
                                   void* stream) {
  return run_int4_gemm_few_rows_of<ptx::Half>(s, b, stream);
}

}  // namespace dovetail::cuda
