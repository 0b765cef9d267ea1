// SPDX-License-Identifier: Apache-2.0
// Runs the CUDA plans by the fp64 references of src/ops, on host memory: the real planning, and in
// the place of the launches something that works where no GPU is. Every byte of the workspace that
// a plan asked for is overwritten, so that too small a reservation shows.
#include "plugin_host/cuda_reference.h"

#include <cstdlib>
#include <cstring>
#include <vector>

#include "cuda/attention_plan.h"
#include "cuda/int4_gemm_plan.h"
#include "dovetail/cuda.h"
#include "ops/attention_reference.h"
#include "ops/int4_gemm_reference.h"
#include "ops/message.h"
#include "support/typed_values.h"

namespace dovetail {
namespace {

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

Result<CudaDevice> cuda_device(int) {
  if (std::getenv(plugin_host::kNoGpu) != nullptr) {
    return unsupported("dovetail: this machine has no GPU");
  }
  return CudaDevice{.compute_capability = 90,
                    .multiprocessors = 132,
                    .shared_memory_bytes = 227 * 1024,
                    .l2_bytes = std::size_t{50} << 20};
}

namespace cuda {

Status prepare_attention(const AttentionSchedule&) {
  return Status::success();
}
Status run_attention(const AttentionSchedule& schedule, const AttentionBuffers& buffers,
                     void* stream) {
  DOVETAIL_RETURN_IF_ERROR(begin_launch(buffers.workspace, schedule.workspace.bytes, stream));
  return attention_reference(schedule.problem, buffers);
}

Status prepare_int4_gemm(const Int4GemmSchedule&) {
  return Status::success();
}
Status run_int4_gemm(const Int4GemmSchedule& schedule, const Int4GemmBuffers& buffers,
                     void* stream) {
  DOVETAIL_RETURN_IF_ERROR(begin_launch(buffers.workspace, schedule.workspace_bytes, stream));
  const Int4GemmProblem& p = schedule.problem;
  std::vector<double> output(static_cast<std::size_t>(p.m * p.attributes.width()));
  DOVETAIL_RETURN_IF_ERROR(int4_gemm_reference(p, buffers, output));
  test_support::store_values(buffers.output, p.activation_type, output);
  return Status::success();
}

}  // namespace cuda
}  // namespace dovetail
