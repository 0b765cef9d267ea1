// SPDX-License-Identifier: Apache-2.0
// What the runtime asks of an inference engine: run the decoder graph of a package once per step.
// An engine owns the weights and knows the device; an EngineContext owns the KV cache of one batch,
// allocated once and bound as past and present of every step, so that it is never copied.
// Everything in a Step is host memory; an engine on another device copies inputs and logits itself.
//
// Legend: B lanes, S tokens of this step (padded), H hidden, L logit rows per lane, V vocabulary.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>

#include "dovetail/status.h"
#include "runtime/package.h"

namespace dovetail {

// The tensors of the graph, docs/package.md. Shapes decide the attention mode
// (ops/attention_lane.h).
struct Step {
  std::int64_t batch = 0;                             // B, the batch of the context
  std::int64_t tokens = 0;                            // S
  std::int64_t logit_rows = 0;                        // L
  const void* inputs_embeds = nullptr;                // [B, S, H] activation type
  const std::int32_t* context_lengths = nullptr;      // [B]
  const std::int64_t* last_token_ids = nullptr;       // [B, L] rows in [0, S)
  const std::int32_t* kvcache_start_index = nullptr;  // [B]; null: the lanes are empty
  const std::int32_t* attention_mask = nullptr;       // [B, S, ceil(S/32)]; null: causal
  const std::int32_t* attention_pos_id = nullptr;     // [B, S]; null: consecutive
  float* logits = nullptr;                            // [B, L, V], written
};

class EngineContext {
 public:
  virtual ~EngineContext() = default;
  virtual std::int64_t batch() const = 0;
  virtual Status run(const Step& step) = 0;
};

class Engine {
 public:
  virtual ~Engine() = default;
  // One line for people: engine, version, threads.
  virtual std::string describe() const = 0;
  // A KV cache for `batch` lanes of the package's capacity.
  virtual Result<std::unique_ptr<EngineContext>> make_context(std::int64_t batch) = 0;
};

struct EngineOptions {
  std::string name{};    // "onnxruntime"; empty: what the manifest says
  std::string device{};  // "cpu" or "cuda"; empty: the engine's own
  int threads = 1;
  std::filesystem::path engine_library{};    // the engine's shared library; empty: search
  std::filesystem::path operator_library{};  // Dovetail's operators for it; empty: search
};

// The engine of this name, loaded with the package's graph. `package` outlives the engine: the
// engine binds the mapped tables.
Result<std::unique_ptr<Engine>> open_engine(const Package& package, const EngineOptions& options);

}  // namespace dovetail
