// SPDX-License-Identifier: Apache-2.0
// Int4GroupwiseGemmPlugin: out[M, N] = activations[M, K] x dequantize(weights)[N, K]^T (+ bias).
// With swiglu the weights are a gate's rows and then up's, N/2 each, and the output is
// silu(gate) * up, [M, N/2] (swiglu.h): a gated MLP's first half in one call.
//
// Legend: M rows = B * S tokens, K in, N out, G group size. A weight is a nibble u in 0..15;
//   value(n, k) = (u(n, k) - zero_point(k / G, n)) * scale(k / G, n)
// with zero_point 8 when there is no such input. Accumulation is fp32 (or exact int32 within a
// group for int8 activations). Contract: the TensorRT Edge-LLM 0.5 plugin; extensions are
// attributes whose default is that contract's behaviour.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "dovetail/cpu.h"
#include "dovetail/status.h"
#include "dovetail/tensor.h"

namespace dovetail {

// How weights, scales and zero points lie in memory; docs/layouts.md has the bit tables.
enum class WeightLayout : std::int32_t {
  kEdgeLlmV1,  // "edgellm_v1": the guide's swizzle; scales and zero points [K/G, N]
  kCpuV1,      // "cpu_v1": 16-column panels for every CPU tier; scales ... [ceil(N/16), K/G, 16]
  kCudaV1,     // "cuda_v1": tensor-core fragments for every sm_80+ GPU; scales ... [K/G, N]
};
const char* name_of(WeightLayout layout);

// What a backend does to the activations. kExact: nothing (fp32 math on dequantized weights).
// kInt8: rounds them to int8 per row and group (scale = absmax / 127) where the backend has integer
// units. kAuto: the backend's faster one. On the CPU the environment variable
// DOVETAIL_COMPUTE=exact|int8, read when a plan is made, overrides the attribute.
enum class ComputeMode : std::int32_t { kAuto, kExact, kInt8 };
const char* name_of(ComputeMode mode);

struct Int4GemmAttributes {
  std::int32_t gemm_n = 0;           // N
  std::int32_t gemm_k = 0;           // K, a multiple of group_size
  std::int32_t group_size = 0;       // G: 32, 64 or 128
  std::int32_t has_zero_points = 0;  // 1: input zero_points is present
  std::int32_t has_bias = 0;         // 1: input bias is present
  WeightLayout weight_layout = WeightLayout::kEdgeLlmV1;
  ComputeMode compute_mode = ComputeMode::kAuto;
  std::int32_t swiglu = 0;  // 1: the output is silu(gate) * up

  // Columns of the output.
  std::int64_t width() const { return swiglu != 0 ? gemm_n / 2 : gemm_n; }
};

struct Int4GemmProblem {
  Int4GemmAttributes attributes;
  DataType activation_type = DataType::kFloat16;  // activations, bias, output: fp32, fp16, bf16
  DataType scale_type = DataType::kFloat16;       // fp32, fp16, bf16
  std::int64_t m = 0;                             // B * S
};

struct Int4GemmBuffers {
  const void* activations = nullptr;  // [M, K]
  const void* weights = nullptr;      // packed nibbles, see WeightLayout
  const void* scales = nullptr;       // scale_type, see WeightLayout
  const void* zero_points = nullptr;  // int8 values 0..15, placed as the scales are; null: 8
  const void* bias = nullptr;         // [N], activation type; null: none
  void* output = nullptr;             // [M, N], or [M, N/2] with swiglu
  void* workspace = nullptr;          // plan.workspace_bytes(), 64-byte aligned
};

// Packed sizes of a layout. weights: int8 container [rows, bytes per row].
Shape weights_shape(const Int4GemmAttributes& attributes);
Shape scales_shape(const Int4GemmAttributes& attributes);  // also of the zero points

// Checks types and shapes of the inputs present, in contract order.
Result<Int4GemmProblem> describe_int4_gemm(const Int4GemmAttributes& attributes,
                                           std::span<const TensorDesc> inputs);
Status validate(const Int4GemmProblem& problem);

// How one GEMM runs on the CPU. Immutable; may run on several threads with separate workspaces.
class CpuInt4GemmPlan {
 public:
  std::size_t workspace_bytes() const;
  std::string describe() const;
  Status run(const Int4GemmBuffers& buffers, const TaskRunner& tasks) const;

  struct State;
  explicit CpuInt4GemmPlan(std::shared_ptr<const State> state) : state_(std::move(state)) {}

 private:
  std::shared_ptr<const State> state_;
};

Result<CpuInt4GemmPlan> plan(const Int4GemmProblem& problem, const CpuDevice& device);

}  // namespace dovetail
