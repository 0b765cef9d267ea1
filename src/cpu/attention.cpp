// SPDX-License-Identifier: Apache-2.0
// CpuAttentionPlan: picks the tier's kernels, checks the call's data, and runs the three phases of
// attention_kernels.h. Items are claimed one by one from a counter, the longest first, so that
// ragged lanes and causal blocks keep all threads busy to the end.
#include <algorithm>
#include <atomic>
#include <cmath>
#include <numbers>

#include "cpu/attention_plan.h"
#include "cpu/tier_kernels.h"
#include "ops/attention.h"
#include "ops/attention_check.h"
#include "ops/message.h"

namespace dovetail {

struct CpuAttentionPlan::State {
  AttentionProblem problem;
  CpuDevice device;
  const AttentionKernels* kernels = nullptr;
  AttentionWork work;
};

namespace {

constexpr TierKernels<AttentionKernels> kKernels {
  .generic = &kAttentionGeneric,
#if defined(__x86_64__)
  .avx2 = &kAttentionAvx2, .avx512 = &kAttentionAvx512,
#endif
};

AttentionCall call_of(const AttentionProblem& p, const AttentionBuffers& buffers) {
  const AttentionAttributes& a = p.attributes;
  const bool fp8 = p.cache_type == DataType::kFloat8E4M3;
  const float k_scale = fp8 ? buffers.kv_scales[0] : 1.0f;
  const float scale = softmax_scale(a) * k_scale;
  const float to_log2 = std::numbers::log2e_v<float>;
  const float cap = a.logit_softcap;
  return {
      .batch = p.batch,
      .tokens = p.tokens,
      .capacity = p.capacity,
      .q_heads = a.num_q_heads,
      .kv_heads = a.num_kv_heads,
      .group = a.num_q_heads / a.num_kv_heads,
      .d = a.head_size,
      .rotary = p.rotary_width,
      .rope_rows = p.rope_rows,
      .activation_type = p.activation_type,
      .cache_type = p.cache_type,
      .shared_rope = p.rope_batch == 1,
      .tree = p.mode == AttentionMode::kTreeDecode,
      .norm = a.enable_qk_norm != 0,
      .window = a.sliding_window_size,
      .norm_eps = a.rms_norm_eps,
      .q_factor = cap > 0 ? scale / cap : scale * to_log2,
      .cap = cap,
      .cap_to_log2 = cap * to_log2,
      .k_scale = k_scale,
      .v_scale = fp8 ? buffers.kv_scales[1] : 1.0f,
      .qkv = buffers.qkv,
      .past = buffers.past_kv_cache == buffers.kv_cache ? nullptr : buffers.past_kv_cache,
      .cache = buffers.kv_cache,
      .rope = buffers.rope_cos_sin,
      .mask = buffers.attention_mask,
      .position_ids = buffers.attention_pos_id,
      .q_norm_weight = buffers.q_norm_weight,
      .k_norm_weight = buffers.k_norm_weight,
      .output = buffers.output,
  };
}

// One call on its way through the phases.
struct Run {
  const CpuAttentionPlan::State& plan;
  const AttentionBuffers& buffers;
  AttentionCall call;
  std::atomic<std::int64_t> next{0};
  std::int64_t items = 0;

  float* workspace() const { return static_cast<float*>(buffers.workspace); }
  std::int64_t heads() const { return plan.problem.attributes.num_kv_heads; }

  AttentionLane lane(std::int64_t b) const {
    const LaneExtent extent = lane_extent(plan.problem, buffers, b);
    return {b, extent.history, extent.new_tokens};
  }

  void prepare(std::int64_t index, float* scratch) const {
    const std::int64_t blocks = plan.work.prepare_blocks;
    const std::int64_t block = index % blocks;
    PrepareItem item{};
    item.lane = lane(index / blocks);
    item.token_begin = block * kPrepareTokens;
    item.token_end = std::min(item.token_begin + kPrepareTokens, call.tokens);
    item.copy_begin = item.lane.history * block / blocks;
    item.copy_end = item.lane.history * (block + 1) / blocks;
    plan.kernels->prepare(call, item, scratch);
  }

  // What attend and merge share: the rows, the keys and the splits of unit `unit`.
  struct Unit {
    AttentionLane lane;
    std::int64_t kv_head, row_begin, row_end;
    KeyRange keys;
    std::int64_t splits;
    float* partials;
  };
  Unit unit(std::int64_t index) const {
    const AttentionWork& work = plan.work;
    // The last row block comes first: it sees the most keys.
    const std::int64_t block = work.row_blocks - 1 - index % work.row_blocks;
    const std::int64_t head = index / work.row_blocks;
    Unit u{};  // no rows: no splits, no work
    u.lane = lane(head / heads());
    u.kv_head = head % heads();
    u.row_begin = block * work.block.rows;
    u.row_end = std::min(u.row_begin + work.block.rows, u.lane.new_tokens * call.group);
    if (u.row_begin < u.row_end) {
      u.keys =
          visible_keys(plan.problem, {u.lane.history, u.lane.new_tokens}, u.row_begin, u.row_end);
      u.splits = splits_of(work, u.keys);
      u.partials =
          workspace() + work.partial_offset + index * work.key_splits * work.partial_floats;
    }
    return u;
  }

  void attend(std::int64_t index, float* scratch) const {
    const AttentionWork& work = plan.work;
    const Unit u = unit(index / work.key_splits);
    const std::int64_t part = index % work.key_splits;
    if (part >= u.splits) {
      return;
    }
    const KeyRange keys = split(work, u.keys, u.splits, part);
    const AttendItem item{u.lane,
                          u.kv_head,
                          u.row_begin,
                          u.row_end,
                          keys.begin,
                          keys.end,
                          u.splits > 1 ? u.partials + part * work.partial_floats : nullptr};
    plan.kernels->attend(call, item, work.block, work.scratch, scratch);
  }

  void merge(std::int64_t index, float* scratch) const {
    const Unit u = unit(index);
    if (u.splits > 1) {
      plan.kernels->merge(call,
                          {u.lane, u.kv_head, u.row_begin, u.row_end, u.partials, u.splits,
                           plan.work.partial_floats},
                          scratch);
    }
  }

  // Runs `count` items of one phase over the tasks; `alone`: on the calling thread.
  template <void (Run::*kPhase)(std::int64_t, float*) const>
  void phase(std::int64_t count, bool alone, const TaskRunner& tasks) {
    next.store(0);
    items = count;
    const auto claim = [](void* self, std::size_t task) {
      Run& run = *static_cast<Run*>(self);
      float* scratch =
          run.workspace() + static_cast<std::int64_t>(task) * run.plan.work.scratch.floats;
      for (std::int64_t i = run.next.fetch_add(1); i < run.items; i = run.next.fetch_add(1)) {
        (run.*kPhase)(i, scratch);
      }
    };
    const std::int64_t wanted = std::min(plan.work.tasks, count);
    if (alone || wanted <= 1 || tasks.parallel_for == nullptr) {
      claim(this, 0);
    } else {
      tasks.parallel_for(tasks.context, static_cast<std::size_t>(wanted), claim, this);
    }
  }
};

// Below this many elements of K and V, waking another thread (about 2 us) costs more than the
// phase takes.
constexpr std::int64_t kSmallPrepare = 16384;

}  // namespace

std::size_t CpuAttentionPlan::workspace_bytes() const {
  return state_->work.workspace_bytes;
}

std::string CpuAttentionPlan::describe() const {
  const AttentionWork& work = state_->work;
  return concat("attention: ", name_of(state_->problem.mode), " on ", state_->kernels->tier, ", ",
                work.tasks, " tasks, ", work.row_blocks, " blocks of ", work.block.rows,
                " rows per KV head, ", work.block.keys, " keys at a time, up to ", work.key_splits,
                " splits, ", work.workspace_bytes, " bytes of workspace");
}

Status CpuAttentionPlan::run(const AttentionBuffers& buffers, const TaskRunner& tasks) const {
  const AttentionProblem& p = state_->problem;
  const AttentionWork& work = state_->work;
  DOVETAIL_RETURN_IF_ERROR(check_call(p, buffers));
  if (p.batch == 0 || p.tokens == 0) {
    return Status::success();
  }
  if (buffers.workspace == nullptr) {
    return invalid_argument("attention: workspace is null, expected ", work.workspace_bytes,
                            " bytes");
  }
  Run run{.plan = *state_, .buffers = buffers, .call = call_of(p, buffers)};
  const std::int64_t elements = 2 * p.batch * p.tokens * run.heads() * p.attributes.head_size;
  const std::int64_t units = p.batch * run.heads() * work.row_blocks;
  run.phase<&Run::prepare>(p.batch * work.prepare_blocks,
                           elements < kSmallPrepare && run.call.past == nullptr, tasks);
  run.phase<&Run::attend>(units * work.key_splits, false, tasks);
  if (work.key_splits > 1) {
    run.phase<&Run::merge>(units, elements < kSmallPrepare, tasks);
  }
  return Status::success();
}

Result<CpuAttentionPlan> plan(const AttentionProblem& problem, const CpuDevice& device) {
  DOVETAIL_RETURN_IF_ERROR(validate(problem));
  const std::int32_t d = problem.attributes.head_size;
  if (d % 16 != 0 || d > 512) {
    return unsupported("attention: attribute head_size is ", d,
                       ", expected a multiple of 16 up to 512 on the CPU");
  }
  auto state = std::make_shared<CpuAttentionPlan::State>();
  state->problem = problem;
  state->device = device;
  state->kernels = &kKernels.of(device.tier);
  state->work = plan_attention(problem, std::max(device.threads, 1), *state->kernels);
  return CpuAttentionPlan(std::move(state));
}

}  // namespace dovetail
