// SPDX-License-Identifier: Apache-2.0
// Attention, batch 1: decode over a long cache, trees on 2k, prompts. Shapes are
// "mode,past,tokens,Hq/Hk/D,cache type", e.g. "decode,8192,1,32/8/128,fp16". Data and verdict are
// those of the conformance suite; copies of the cache are rotated beyond the last-level cache, so
// that a decode row reads its keys from memory as a model with many layers does.
#include <cstdio>
#include <cstdlib>
#include <memory>

#include "bench.h"
#include "conformance/attention_judge.h"
#include "ops/attention.h"
#include "ops/message.h"

namespace dovetail::bench {
namespace {

using test_support::AttentionCase;
using test_support::AttentionData;

constexpr std::size_t kRotationBytes = std::size_t{192} << 20;

const char* const kShapes[] = {
    "decode,1024,1,32/8/128,fp16",  "decode,2048,1,32/8/128,fp16", "decode,8192,1,32/8/128,fp16",
    "decode,8192,1,32/8/128,fp32",  "tree,2048,8,32/8/128,fp16",   "tree,2048,16,32/8/128,fp16",
    "prefill,0,512,32/8/128,fp16",  "prefill,0,512,32/8/128,fp32", "prefill,0,2048,32/8/128,fp16",
    "prefill,0,2048,32/8/128,fp32", "decode,1024,1,32/8/64,fp16",  "decode,2048,1,32/8/64,fp16",
    "decode,8192,1,32/8/64,fp16",   "decode,8192,1,32/8/64,fp32",  "tree,2048,8,32/8/64,fp16",
    "tree,2048,16,32/8/64,fp16",    "prefill,0,512,32/8/64,fp16",  "prefill,0,512,32/8/64,fp32",
    "prefill,0,2048,32/8/64,fp16",  "prefill,0,2048,32/8/64,fp32",
};

struct Buffer {
  explicit Buffer(std::size_t bytes)
      : size(bytes),
        data(static_cast<std::byte*>(std::aligned_alloc(64, (bytes + 64) / 64 * 64))) {}
  struct Free {
    void operator()(std::byte* p) const { std::free(p); }
  };
  std::size_t size;
  std::unique_ptr<std::byte, Free> data;
};

Result<DataType> type_named(const std::string& name) {
  for (DataType type :
       {DataType::kFloat32, DataType::kFloat16, DataType::kBFloat16, DataType::kFloat8E4M3}) {
    if (name == name_of(type)) {
      return type;
    }
  }
  return invalid_argument("type is ", name, ", expected fp32, fp16, bf16 or (cache) fp8_e4m3");
}

Result<AttentionCase> case_of(const std::string& shape, const Options& options) {
  AttentionCase c;
  char mode[16] = {};
  char cache[16] = {};
  long past = 0;
  if (std::sscanf(shape.c_str(), "%15[^,],%ld,%ld,%ld/%ld/%ld,%15s", mode, &past, &c.tokens,
                  &c.q_heads, &c.kv_heads, &c.d, cache) != 7) {
    return invalid_argument("shape is ", shape,
                            ", expected mode,past,tokens,Hq/Hk/D,cache type, for example ",
                            kShapes[0]);
  }
  const std::string name = mode;
  if (name == "decode") {
    c.mode = AttentionMode::kDecode;
  } else if (name == "tree") {
    c.mode = AttentionMode::kTreeDecode;
    c.mask = test_support::MaskKind::kTree;
  } else if (name == "prefill") {
    c.mode = past == 0 ? AttentionMode::kPrefill : AttentionMode::kChunkedPrefill;
  } else {
    return invalid_argument("mode is ", name, ", expected decode, tree or prefill");
  }
  const Result<DataType> activation = type_named(options.type);
  const Result<DataType> cache_type = type_named(cache);
  for (const auto* type : {&activation, &cache_type}) {
    if (!type->ok()) {
      return type->status();
    }
  }
  c.name = shape;
  c.activation = *activation;
  c.cache = *cache_type;
  c.histories = {past};
  c.capacity = past + c.tokens;
  return c;
}

}  // namespace

Result<nlohmann::json> measure_attention(const std::string& shape, const Options& options,
                                         ThreadPool& pool, const Roofs& roofs) {
  const Result<AttentionCase> c = case_of(shape, options);
  if (!c.ok()) {
    return c.status();
  }
  const AttentionData data = test_support::make_attention_data(*c);
  const Result<CpuAttentionPlan> planned = plan(data.problem, options.device);
  if (!planned.ok()) {
    return planned.status();
  }
  const std::size_t copies = c->histories[0] == 0 ? 1 : kRotationBytes / data.cache.size() + 1;
  std::vector<Buffer> caches;
  for (std::size_t i = 0; i < copies; ++i) {
    caches.emplace_back(data.cache.size());
    std::copy(data.cache.begin(), data.cache.end(), caches.back().data.get());
  }
  const Buffer output(data.output_bytes());
  const Buffer workspace(planned->workspace_bytes());
  const auto buffers_of = [&](std::size_t i) {
    AttentionBuffers buffers = data.inputs();
    buffers.kv_cache = caches[i % copies].data.get();
    buffers.past_kv_cache = buffers.kv_cache;
    buffers.output = output.data.get();
    buffers.workspace = workspace.data.get();
    return buffers;
  };
  DOVETAIL_RETURN_IF_ERROR(planned->run(buffers_of(0), pool.runner()));
  const std::span<const std::byte> written{caches[0].data.get(), caches[0].size};
  for (const std::string& verdict :
       {test_support::check_cache(*c, data, written),
        test_support::check_output(*c, data, written, output.data.get())}) {
    if (!verdict.empty()) {
      return internal_error("attention: ", shape, ": ", verdict);
    }
  }

  const double before = measure_read_rate(pool);
  const Timing timing = time_calls(options.seconds, [&](std::int64_t i) {
    static_cast<void>(planned->run(buffers_of(static_cast<std::size_t>(i)), pool.runner()));
  });
  const double read = std::max(before, measure_read_rate(pool));
  const Cost cost = attention_cost(data.problem, c->histories[0]);
  nlohmann::json row = to_json(timing);
  row["op"] = "attention";
  row["shape"] = shape;
  row["compute"] = "fp32";
  row["plan"] = planned->describe();
  row["read_gb_per_s"] = read;
  row["gb_per_s"] = cost.bytes / timing.median_us * 1e-3;
  row["share_of_read"] = cost.bytes / timing.median_us * 1e-3 / read;
  row["gop_per_s"] = cost.flops / timing.median_us * 1e-3;
  row["share_of_peak"] = roofs.fma_gflop_per_s > 0
                             ? cost.flops / timing.median_us * 1e-3 / roofs.fma_gflop_per_s
                             : 0.0;
  return row;
}

std::span<const char* const> attention_shapes() {
  return kShapes;
}

}  // namespace dovetail::bench
