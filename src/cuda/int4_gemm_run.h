// SPDX-License-Identifier: Apache-2.0
// The int4 GEMM kernels by activation type, as host functions; int4_gemm_run.cpp chooses.
#pragma once

#include "cuda/int4_gemm_plan.h"

namespace dovetail::cuda {

Status prepare_int4_gemm_fp16(const Int4GemmSchedule& schedule);
Status prepare_int4_gemm_bf16(const Int4GemmSchedule& schedule);
Status prepare_int4_gemm_fp32(const Int4GemmSchedule& schedule);
Status run_int4_gemm_fp16(const Int4GemmSchedule& s, const Int4GemmBuffers& b, void* stream);
Status run_int4_gemm_bf16(const Int4GemmSchedule& s, const Int4GemmBuffers& b, void* stream);
Status run_int4_gemm_fp32(const Int4GemmSchedule& s, const Int4GemmBuffers& b, void* stream);

Status prepare_int4_gemm_few_rows_fp16(const Int4GemmSchedule& schedule);
Status prepare_int4_gemm_few_rows_bf16(const Int4GemmSchedule& schedule);
Status run_int4_gemm_few_rows_fp16(const Int4GemmSchedule& s, const Int4GemmBuffers& b,
                                   void* stream);
Status run_int4_gemm_few_rows_bf16(const Int4GemmSchedule& s, const Int4GemmBuffers& b,
                                   void* stream);

// The first of the two launches; the rest is shared with kRowTiles.
struct Int4GemmArguments;
Status prepare_int4_gemm_warpgroup_fp16(const Int4GemmSchedule& schedule);
Status prepare_int4_gemm_warpgroup_bf16(const Int4GemmSchedule& schedule);
Status launch_int4_gemm_warpgroup_fp16(const Int4GemmSchedule& s,
                                       const Int4GemmArguments& arguments, void* stream);
Status launch_int4_gemm_warpgroup_bf16(const Int4GemmSchedule& s,
                                       const Int4GemmArguments& arguments, void* stream);
Status prepare_int4_gemm_middle_rows_fp16(const Int4GemmSchedule& schedule);
Status prepare_int4_gemm_middle_rows_bf16(const Int4GemmSchedule& schedule);
Status launch_int4_gemm_middle_rows_fp16(const Int4GemmSchedule& s,
                                       const Int4GemmArguments& arguments, void* stream);
Status launch_int4_gemm_middle_rows_bf16(const Int4GemmSchedule& s,
                                       const Int4GemmArguments& arguments, void* stream);

}  // namespace dovetail::cuda
