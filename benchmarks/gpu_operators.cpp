// SPDX-License-Identifier: Apache-2.0
#include "gpu_operators.h"

#include <cuda_runtime_api.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <utility>

#include "dovetail/int4_pack.h"

using namespace dovetail;

struct BenchmarkPlan {
  virtual ~BenchmarkPlan() = default;
  virtual std::size_t workspace_bytes() const = 0;
  virtual Status run(const void* buffers, void* stream) const = 0;
};

namespace {

template <class Plan, class Buffers>
struct PlanOf final : BenchmarkPlan {
  explicit PlanOf(Plan made) : plan(std::move(made)) {}
  std::size_t workspace_bytes() const override { return plan.workspace_bytes(); }
  Status run(const void* buffers, void* stream) const override {
    return plan.run(*static_cast<const Buffers*>(buffers), stream);
  }
  Plan plan;
};

int report(const Status& status, char* text) {
  std::snprintf(text, kTextBytes, "%s", status.message().c_str());
  return status.ok() ? 0 : 1;
}

template <class Plan, class Buffers, class Problem>
BenchmarkPlan* make(const Problem& problem, int capability, char* text) {
  Result<CudaDevice> device = cuda_device();
  if (device.ok() && capability == 80) {
    device->compute_capability = capability;
    device->shared_memory_bytes = std::min(device->shared_memory_bytes, 163 * 1024);
  }
  Result<Plan> made = device.ok() ? plan(problem, *device) : Result<Plan>(device.status());
  if (!made.ok()) {
    report(made.status(), text);
    return nullptr;
  }
  std::snprintf(text, kTextBytes, "%s", made->describe().c_str());
  return new PlanOf<Plan, Buffers>(*std::move(made));
}

}  // namespace

BenchmarkPlan* dovetail_plan_int4_gemm(const BenchmarkInt4Gemm* call, char* text) {
  const Int4GemmProblem problem{
      .attributes = {.gemm_n = call->n,
                     .gemm_k = call->k,
                     .group_size = call->group_size,
                     .has_zero_points = call->zero_points,
                     .weight_layout = static_cast<WeightLayout>(call->layout)},
      .activation_type = static_cast<DataType>(call->activation_type),
      .scale_type = static_cast<DataType>(call->scale_type),
      .m = call->m};
  return make<CudaInt4GemmPlan, Int4GemmBuffers>(problem, call->capability, text);
}

BenchmarkPlan* dovetail_plan_attention(const BenchmarkAttention* call, char* text) {
  const auto mode = static_cast<AttentionMode>(call->mode);
  const auto cache_type = static_cast<DataType>(call->cache_type);
  const AttentionProblem problem{
      .attributes = {.num_q_heads = call->q_heads,
                     .num_kv_heads = call->kv_heads,
                     .head_size = call->head_size,
                     .enable_tree_attention = mode == AttentionMode::kTreeDecode ? 1 : 0,
                     .enable_fp8_kv_cache = cache_type == DataType::kFloat8E4M3 ? 1 : 0},
      .mode = mode,
      .activation_type = static_cast<DataType>(call->activation_type),
      .cache_type = cache_type,
      .batch = call->batch,
      .tokens = call->tokens,
      .capacity = call->capacity,
      .rope_batch = 1,
      .rope_rows = call->capacity,
      .rotary_width = call->head_size};
  return make<CudaAttentionPlan, AttentionBuffers>(problem, call->capability, text);
}

void dovetail_release(BenchmarkPlan* plan) {
  delete plan;
}

std::size_t dovetail_workspace_bytes(const BenchmarkPlan* plan) {
  return plan->workspace_bytes();
}

int dovetail_run(const BenchmarkPlan* plan, const void* buffers, void* stream, char* text) {
  return report(plan->run(buffers, stream), text);
}

double dovetail_host_seconds(const BenchmarkPlan* plan, const void* buffers, void* stream,
                             int calls) {
  const auto start = std::chrono::steady_clock::now();
  for (int i = 0; i < calls; ++i) {
    if (!plan->run(buffers, stream).ok()) return -1;
  }
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

int dovetail_launch_count(const BenchmarkPlan* plan, const void* buffers, void* stream) {
  auto* on = static_cast<cudaStream_t>(stream);
  cudaGraph_t graph = nullptr;
  std::size_t count = 0;
  if (cudaStreamBeginCapture(on, cudaStreamCaptureModeThreadLocal) != cudaSuccess) return 0;
  const bool ran = plan->run(buffers, stream).ok();
  if (cudaStreamEndCapture(on, &graph) != cudaSuccess) return 0;
  const bool counted = cudaGraphGetNodes(graph, nullptr, &count) == cudaSuccess;
  return cudaGraphDestroy(graph) == cudaSuccess && ran && counted ? static_cast<int>(count) : 0;
}

int dovetail_pack(const BenchmarkPack* pack, std::int64_t* sizes, char* text) {
  const Int4GemmAttributes attributes{.gemm_n = static_cast<std::int32_t>(pack->n),
                                      .gemm_k = static_cast<std::int32_t>(pack->k),
                                      .group_size = static_cast<std::int32_t>(pack->group_size),
                                      .weight_layout = static_cast<WeightLayout>(pack->layout)};
  sizes[0] = weights_shape(attributes).count();
  sizes[1] = scales_shape(attributes).count();
  if (pack->packed_weights == nullptr) return 0;
  const auto size = [](std::int64_t count) { return static_cast<std::size_t>(count); };
  const std::size_t groups = size(pack->n * pack->k / pack->group_size);
  const auto scale_type = static_cast<DataType>(pack->scale_type);
  const bool zero_points = pack->zero_points != nullptr;
  return report(
      pack_int4({.n = pack->n,
                 .k = pack->k,
                 .group_size = pack->group_size,
                 .layout = static_cast<WeightLayout>(pack->layout),
                 .scale_type = scale_type},
                {.codes = {pack->codes, size(pack->n * pack->k)},
                 .scales = {pack->scales, groups},
                 .zero_points = {pack->zero_points, zero_points ? groups : 0}},
                {.weights = {pack->packed_weights, size(sizes[0])},
                 .scales = {pack->packed_scales, size(sizes[1]) * size_of(scale_type)},
                 .zero_points = {pack->packed_zero_points, zero_points ? size(sizes[1]) : 0}}),
      text);
}
