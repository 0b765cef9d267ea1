// SPDX-License-Identifier: Apache-2.0
#include "cuda/int4_gemm_middle_rows_launch.cuh"

namespace dovetail::cuda {

Status prepare_int4_gemm_middle_rows_bf16(const Int4GemmSchedule& s) {
  return prepare(find_int4_gemm_middle_rows_kernel<ptx::BFloat16>(s),
                 static_cast<uint32_t>(s.shared_bytes));
}

Status launch_int4_gemm_middle_rows_bf16(const Int4GemmSchedule& s,
                                       const Int4GemmArguments& arguments, void* stream) {
  return launch_int4_gemm_middle_rows<ptx::BFloat16>(s, arguments, stream);
}

}  // namespace dovetail::cuda
