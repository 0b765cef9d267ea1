// SPDX-License-Identifier: Apache-2.0
// A case of int4_gemm_cases.h made concrete: host buffers with guard zones in the wanted layout,
// and the verdict on a result. A driver (CPU tier, CUDA, ONNX Runtime, TensorRT) copies or binds
// the buffers, runs its backend, and asks judge() for "" or a sentence.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "conformance/int4_gemm_cases.h"
#include "dovetail/int4_gemm.h"
#include "support/guarded_buffer.h"

namespace dovetail::conformance {

// The precision that a backend promises; the verdict's model computes in the same.
struct Int4GemmPrecision {
  ComputeMode mode = ComputeMode::kExact;     // kExact or kInt8
  DataType weight_type = DataType::kFloat32;  // type that dequantized weights are rounded to

  bool operator==(const Int4GemmPrecision&) const = default;
};

class Int4GemmInstance {
 public:
  // The data depend on the case alone, not on the layout.
  Int4GemmInstance(const Int4GemmCase& c, WeightLayout layout);

  const Int4GemmProblem& problem() const { return problem_; }
  // Output is poisoned by the constructor; workspace is null.
  Int4GemmBuffers buffers();
  void poison_output() { output_->poison(); }

  // "" when no guard zone was touched.
  std::string find_stray_write() const;
  // "" when the output buffer, or a result held elsewhere ([M, N] in the activation type), is
  // right. The expectation of the last two precisions is kept: judging several backends on one
  // instance is cheap.
  std::string judge(const Int4GemmPrecision& precision) const;
  std::string judge(const Int4GemmPrecision& precision, const void* output) const;

 private:
  using Buffer = std::unique_ptr<test_support::GuardedBuffer>;
  struct Expectation {
    Int4GemmPrecision precision;
    std::vector<double> reference, magnitude, model;
  };
  Expectation compute(const Int4GemmPrecision& precision) const;
  const Expectation& expect(const Int4GemmPrecision& precision) const;

  Int4GemmCase case_;
  Int4GemmProblem problem_;
  Buffer activations_, weights_, scales_, zero_points_, bias_, output_;
  Buffer judge_weights_, judge_scales_,
      judge_zero_points_;  // the same weights as cpu_v1, for judge()
  mutable std::vector<Expectation> expectations_;
};

}  // namespace dovetail::conformance
