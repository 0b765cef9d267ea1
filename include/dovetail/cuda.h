// SPDX-License-Identifier: Apache-2.0
// The CUDA device as the planner sees it, and the plans of the operators. Planning is pure host
// code: it needs no GPU, no driver and no toolkit. run() only launches: no allocation, no host
// synchronisation, no device query, so it may be captured in a CUDA graph.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <utility>

#include "dovetail/attention.h"
#include "dovetail/int4_gemm.h"
#include "dovetail/residual_norm.h"
#include "dovetail/status.h"
#include "dovetail/swiglu.h"

namespace dovetail {

struct CudaDevice {
  int compute_capability = 80;  // 10 * major + minor: 80, 86, 87, 89, 90, 100, 103, 110, 120, 121
  int multiprocessors = 108;
  int shared_memory_bytes = 163 * 1024;  // what one block may opt into: 99, 163 or 227 KB
  std::size_t l2_bytes = 40u << 20;
};

inline constexpr int kCurrentCudaDevice = -1;

// The properties of a device, read once per process and device. kUnsupported in a build without
// CUDA and for devices below sm_80.
Result<CudaDevice> cuda_device(int ordinal = kCurrentCudaDevice);

class CudaAttentionPlan {
 public:
  std::size_t workspace_bytes() const;
  std::string describe() const;  // one line: kernel, tile, splits, grid, shared memory
  // All pointers are device pointers; `stream` is a cudaStream_t. Returns launch errors. Lengths
  // are data and not looked at here: a lane that does not fit is left out, its output zero.
  Status run(const AttentionBuffers& buffers, void* stream) const;

  struct State;
  explicit CudaAttentionPlan(std::shared_ptr<const State> state) : state_(std::move(state)) {}

 private:
  std::shared_ptr<const State> state_;
};
Result<CudaAttentionPlan> plan(const AttentionProblem& problem, const CudaDevice& device);

class CudaInt4GemmPlan {
 public:
  std::size_t workspace_bytes() const;
  std::string describe() const;
  // Weights, scales and zero points are constants: a run may read them before earlier kernels of the
  // stream are done (never activations, bias or output), so no kernel in flight may be writing them.
  Status run(const Int4GemmBuffers& buffers, void* stream) const;

  struct State;
  explicit CudaInt4GemmPlan(std::shared_ptr<const State> state) : state_(std::move(state)) {}

 private:
  std::shared_ptr<const State> state_;
};
Result<CudaInt4GemmPlan> plan(const Int4GemmProblem& problem, const CudaDevice& device);

class CudaSwigluPlan {
 public:
  std::size_t workspace_bytes() const { return 0; }
  std::string describe() const;
  Status run(const SwigluBuffers& buffers, void* stream) const;

  struct State;
  explicit CudaSwigluPlan(std::shared_ptr<const State> state) : state_(std::move(state)) {}

 private:
  std::shared_ptr<const State> state_;
};
Result<CudaSwigluPlan> plan(const SwigluProblem& problem, const CudaDevice& device);

class CudaResidualNormPlan {
 public:
  std::size_t workspace_bytes() const { return 0; }
  std::string describe() const;
  // The weight is a constant, as an int4 matrix is: it may be read before earlier kernels are done.
  Status run(const ResidualNormBuffers& buffers, void* stream) const;

  struct State;
  explicit CudaResidualNormPlan(std::shared_ptr<const State> state) : state_(std::move(state)) {}

 private:
  std::shared_ptr<const State> state_;
};
Result<CudaResidualNormPlan> plan(const ResidualNormProblem& problem, const CudaDevice& device);

// The most workspace that any call needs which brings as many lanes, tokens or rows as `largest` or
// fewer, in any mode that its attributes allow, on any GPU: an engine reserves it once, maybe where
// no GPU is. kUnsupported when no GPU serves the problem.
Result<std::size_t> workspace_bound(const AttentionProblem& largest);
Result<std::size_t> workspace_bound(const Int4GemmProblem& largest);

}  // namespace dovetail
