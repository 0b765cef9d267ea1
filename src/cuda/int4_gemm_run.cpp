// SPDX-License-Identifier: Apache-2.0
#include "cuda/int4_gemm_run.h"

#include <tuple>

#include "ops/message.h"

namespace dovetail::cuda {

Status prepare_int4_gemm(const Int4GemmSchedule& s) {
  if (s.kernel == Int4GemmKernel::kFewRows) {
    return s.problem.activation_type == DataType::kFloat16 ? prepare_int4_gemm_few_rows_fp16(s)
                                                           : prepare_int4_gemm_few_rows_bf16(s);
  }
  switch (s.problem.activation_type) {
    case DataType::kFloat16:
      return prepare_int4_gemm_fp16(s);
    case DataType::kBFloat16:
      return prepare_int4_gemm_bf16(s);
    default:
      return prepare_int4_gemm_fp32(s);
  }
}

namespace {

Status multiply(const Int4GemmSchedule& s, const Int4GemmBuffers& b, void* stream) {
  if (s.kernel == Int4GemmKernel::kFewRows) {
    return s.problem.activation_type == DataType::kFloat16
               ? run_int4_gemm_few_rows_fp16(s, b, stream)
               : run_int4_gemm_few_rows_bf16(s, b, stream);
  }
  switch (s.problem.activation_type) {
    case DataType::kFloat16:
      return run_int4_gemm_fp16(s, b, stream);
    case DataType::kBFloat16:
      return run_int4_gemm_bf16(s, b, stream);
    default:
      return run_int4_gemm_fp32(s, b, stream);
  }
}

}  // namespace

Status run_int4_gemm(const Int4GemmSchedule& s, const Int4GemmBuffers& buffers, void* stream) {
  if (s.problem.m == 0) return Status::success();
  const Int4GemmAttributes& a = s.problem.attributes;
  Int4GemmBuffers b = buffers;
  if (a.has_zero_points == 0) b.zero_points = nullptr;
  if (a.has_bias == 0) b.bias = nullptr;
  for (const auto& [name, pointer, needed, alignment] :
       {std::tuple("activations", b.activations, true, 16),
        std::tuple("weights", b.weights, true, 16), std::tuple("scales", b.scales, true, 16),
        std::tuple("zero_points", b.zero_points, a.has_zero_points != 0, 16),
        std::tuple("bias", b.bias, a.has_bias != 0, 4),
        std::tuple("output", static_cast<const void*>(b.output), true, 8),
        std::tuple("workspace", static_cast<const void*>(b.workspace), s.workspace_bytes > 0,
                   16)}) {
    if (needed && pointer == nullptr) return invalid_argument("int4_gemm: ", name, " is null");
    if (needed &&
        reinterpret_cast<std::uintptr_t>(pointer) % static_cast<unsigned>(alignment) != 0) {
      return invalid_argument("int4_gemm: ", name, " is at ", pointer, ", expected a multiple of ",
                              alignment);
    }
  }
  if (!s.swiglu) return multiply(s, b, stream);
  b.output = static_cast<std::byte*>(b.workspace) + s.gate_up_offset;
  DOVETAIL_RETURN_IF_ERROR(multiply(s, b, stream));
  return run_swiglu(*s.swiglu, {b.output, buffers.output}, stream);
}

}  // namespace dovetail::cuda
