// SPDX-License-Identifier: Apache-2.0
// include/dovetail/cuda.h by the fp64 references of src/ops, on host memory: lets the whole host
// path of a plugin run, enqueue included, where there is no GPU. Like real planners it refuses what
// its kernels would not have (head sizes off a list, cpu_v1 weights), and its workspace is not
// monotonic; every byte that it asked for is overwritten, so that too small a reservation shows.
#include "plugin_host/cuda_reference.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "dovetail/cuda.h"
#include "ops/attention.h"
#include "ops/attention_reference.h"
#include "ops/int4_gemm.h"
#include "ops/int4_gemm_reference.h"
#include "ops/message.h"
#include "support/typed_values.h"

namespace dovetail {
namespace {

// Few rows are split over the multiprocessors, and each part needs room for its sums.
std::size_t split_workspace(std::int64_t rows, std::int64_t width, const CudaDevice& device) {
  const std::int64_t splits = rows == 0 ? 1 : device.multiprocessors / rows;
  return splits <= 1 ? 0 : static_cast<std::size_t>(splits * rows * width) * sizeof(float);
}

Status begin_launch(void* workspace, std::size_t bytes, void* stream) {
  if (bytes > 0) {
    if (workspace == nullptr || reinterpret_cast<std::uintptr_t>(workspace) % 64 != 0) {
      return invalid_argument("dovetail: workspace is null or not 64-byte aligned");
    }
    std::memset(workspace, 0xff, bytes);
  }
  if (auto* reference_stream = static_cast<plugin_host::ReferenceStream*>(stream)) {
    ++reference_stream->launches;
    if (reference_stream->broken) {
      return internal_error("dovetail: launch failed: the stream is broken");
    }
  }
  return Status::success();
}

}  // namespace

struct CudaAttentionPlan::State {
  AttentionProblem problem;
  std::size_t workspace_bytes;
};
struct CudaInt4GemmPlan::State {
  Int4GemmProblem problem;
  std::size_t workspace_bytes;
};

Result<CudaDevice> cuda_device(int) {
  if (std::getenv(plugin_host::kNoGpu) != nullptr) {
    return unsupported("dovetail: this machine has no GPU");
  }
  return CudaDevice{.compute_capability = 90, .multiprocessors = 132};
}

Result<CudaAttentionPlan> plan(const AttentionProblem& problem, const CudaDevice& device) {
  DOVETAIL_RETURN_IF_ERROR(validate(problem));
  const AttentionAttributes& a = problem.attributes;
  constexpr int kHeadSizes[] = {32, 64, 80, 96, 112, 128, 192, 256};
  if (std::ranges::find(kHeadSizes, a.head_size) == std::end(kHeadSizes)) {
    return unsupported("attention: head_size is ", a.head_size,
                       ", expected 32, 64, 80, 96, 112, 128, 192 or 256 on CUDA");
  }
  return CudaAttentionPlan(std::make_shared<const CudaAttentionPlan::State>(
      problem, split_workspace(problem.batch * problem.tokens,
                               std::int64_t{a.num_q_heads} * a.head_size, device)));
}
std::size_t CudaAttentionPlan::workspace_bytes() const {
  return state_->workspace_bytes;
}
std::string CudaAttentionPlan::describe() const {
  return "attention: reference";
}
Status CudaAttentionPlan::run(const AttentionBuffers& buffers, void* stream) const {
  DOVETAIL_RETURN_IF_ERROR(begin_launch(buffers.workspace, workspace_bytes(), stream));
  return attention_reference(state_->problem, buffers);
}

Result<CudaInt4GemmPlan> plan(const Int4GemmProblem& problem, const CudaDevice& device) {
  DOVETAIL_RETURN_IF_ERROR(validate(problem));
  const Int4GemmAttributes& a = problem.attributes;
  if (a.weight_layout == WeightLayout::kCpuV1) {
    return unsupported(
        "int4_gemm: weight_layout is cpu_v1, expected edgellm_v1 or cuda_v1 on CUDA");
  }
  return CudaInt4GemmPlan(std::make_shared<const CudaInt4GemmPlan::State>(
      problem, split_workspace(problem.m, a.gemm_n, device)));
}
std::size_t CudaInt4GemmPlan::workspace_bytes() const {
  return state_->workspace_bytes;
}
std::string CudaInt4GemmPlan::describe() const {
  return "int4_gemm: reference";
}
Status CudaInt4GemmPlan::run(const Int4GemmBuffers& buffers, void* stream) const {
  DOVETAIL_RETURN_IF_ERROR(begin_launch(buffers.workspace, workspace_bytes(), stream));
  const Int4GemmProblem& p = state_->problem;
  std::vector<double> output(static_cast<std::size_t>(p.m * p.attributes.gemm_n));
  DOVETAIL_RETURN_IF_ERROR(int4_gemm_reference(p, buffers, output));
  test_support::store_values(buffers.output, p.activation_type, output);
  return Status::success();
}

}  // namespace dovetail
