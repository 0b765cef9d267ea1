// SPDX-License-Identifier: Apache-2.0
// An attention case in device memory, and one call of it on a schedule: on the SIMT host model, or
// on a GPU (DOVETAIL_ON_GPU).
#pragma once

#include <gtest/gtest.h>

#include "conformance/attention_judge.h"
#include "cuda/attention_plan.h"
#include "cuda/device_memory.h"

namespace dovetail::test_support {

using Bytes = std::vector<std::byte>;

#if defined(DOVETAIL_ON_GPU)
inline constexpr bool kOnGpu = true;
#else
inline constexpr bool kOnGpu = false;
#endif

// What the plan is made for. On a GPU other than sm_90, that architecture's kernels are left out.
inline CudaDevice device(int multiprocessors, int shared_kb, int capability) {
#if defined(DOVETAIL_ON_GPU)
  if (capability == 90) capability = cuda_device()->compute_capability;
#endif
  return {.compute_capability = capability,
          .multiprocessors = multiprocessors,
          .shared_memory_bytes = shared_kb * 1024};
}

// Everything of a call in device memory.
struct DeviceCall {
  DeviceCall(const AttentionCase& c, const AttentionData& data, std::size_t workspace_bytes)
      : qkv(data.qkv),
        cache(c.separate_past ? Bytes(data.cache.size(), std::byte{0xff}) : data.cache),
        past(c.separate_past ? data.cache : Bytes{}),
        q_norm(data.q_norm),
        k_norm(data.k_norm),
        context_lengths(data.context_lengths),
        start_index(data.start_index),
        mask(data.mask),
        position_ids(data.position_ids),
        rope(data.rope),
        kv_scales(data.kv_scales),
        workspace(workspace_bytes) {
    const auto pointer = [](auto& buffer) { return buffer.size() == 0 ? nullptr : buffer.data(); };
    call = {.qkv = qkv.data(),
            .past_kv_cache = c.separate_past ? past.data() : cache.data(),
            .kv_cache = cache.data(),
            .context_lengths = context_lengths.data(),
            .rope_cos_sin = rope.data(),
            .kv_start_index = pointer(start_index),
            .attention_mask = pointer(mask),
            .attention_pos_id = pointer(position_ids),
            .kv_scales = pointer(kv_scales),
            .q_norm_weight = pointer(q_norm),
            .k_norm_weight = pointer(k_norm),
            .workspace = workspace.data()};
  }

  DeviceBuffer<std::byte> qkv, cache, past, q_norm, k_norm;
  DeviceBuffer<std::int32_t> context_lengths, start_index, mask, position_ids;
  DeviceBuffer<float> rope, kv_scales;
  DeviceBuffer<std::byte> workspace;
  AttentionBuffers call;
};

// One call in the given order.
inline Bytes attend(const cuda::AttentionSchedule& schedule, DeviceCall& on_device,
                    const AttentionData& data, int order) {
  set_block_order(order);
  DeviceBuffer<std::byte> output(data.output_bytes());
  on_device.call.output = output.data();
  const Status prepared = cuda::prepare_attention(schedule);
  EXPECT_TRUE(prepared.ok()) << prepared.message();
  const Status status = cuda::run_attention(schedule, on_device.call, nullptr);
  EXPECT_TRUE(status.ok()) << status.message();
  return output.read();
}

}  // namespace dovetail::test_support
