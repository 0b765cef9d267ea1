// SPDX-License-Identifier: Apache-2.0
// An engine without a model, for tests of everything around it. Its "cache" is the list of token
// ids per lane, read back from the embedding rows (row i of the table starts with the number i),
// and the meaning of the inputs is taken from ops/attention_lane.h, as a kernel takes it. The
// logits of a row favour scripted_next(history). Padding rows must be zero.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "ops/attention_lane.h"
#include "runtime/engine.h"
#include "runtime/scripted_next.h"

namespace dovetail {

// What a context was asked, for tests that look at the steps.
struct ScriptedStep {
  std::int64_t tokens = 0;
  AttentionMode mode = AttentionMode::kPrefill;
};

struct Script {
  std::vector<ScriptedStep> steps;
  int contexts = 0;
};

class ScriptedContext final : public EngineContext {
 public:
  ScriptedContext(const Package& package, std::int64_t batch, Script& script)
      : package_(package),
        batch_(batch),
        script_(script),
        cache_(static_cast<std::size_t>(batch)) {}

  std::int64_t batch() const override { return batch_; }

  Status run(const Step& step) override {
    const auto capacity = static_cast<std::size_t>(package_.manifest.capacity);
    const std::int64_t vocab = package_.manifest.model.vocab_size;
    const std::int64_t hidden = package_.manifest.model.hidden_size;
    const AttentionMode mode = step.kvcache_start_index == nullptr ? AttentionMode::kPrefill
                               : step.tokens == 1                  ? AttentionMode::kDecode
                                                                   : AttentionMode::kChunkedPrefill;
    script_.steps.push_back({step.tokens, mode});
    std::fill_n(step.logits, step.batch * step.logit_rows * vocab, 0.0f);
    for (std::int64_t b = 0; b < batch_; ++b) {
      std::vector<std::int32_t>& slots = cache_[static_cast<std::size_t>(b)];
      slots.resize(capacity, -1);
      const LaneExtent extent =
          lane_extent(mode, step.tokens, step.context_lengths[b],
                      step.kvcache_start_index == nullptr ? 0 : step.kvcache_start_index[b]);
      EXPECT_TRUE(extent.fits(package_.manifest.capacity));
      for (std::int64_t s = 0; s < step.tokens; ++s) {
        const float token =
            static_cast<const float*>(step.inputs_embeds)[(b * step.tokens + s) * hidden];
        if (s < extent.new_tokens) {
          slots[static_cast<std::size_t>(extent.history + s)] = static_cast<std::int32_t>(token);
        } else {
          EXPECT_EQ(token, 0.0f) << "padding row " << s << " of lane " << b;
        }
      }
      for (std::int64_t row = 0; row < step.logit_rows; ++row) {
        const std::int64_t token = step.last_token_ids[b * step.logit_rows + row];
        EXPECT_GE(token, 0);
        EXPECT_LT(token, step.tokens);
        if (token < extent.new_tokens) {
          const auto length = static_cast<std::size_t>(extent.history + token + 1);
          const std::int32_t next = scripted_next(std::span(slots).first(length));
          step.logits[(b * step.logit_rows + row) * vocab + next] = kScriptedLogit;
        }
      }
    }
    return Status::success();
  }

 private:
  const Package& package_;
  const std::int64_t batch_;
  Script& script_;
  std::vector<std::vector<std::int32_t>> cache_;
};

class ScriptedEngine final : public Engine {
 public:
  ScriptedEngine(const Package& package, Script& script) : package_(package), script_(script) {}

  std::string describe() const override { return "scripted"; }
  Result<std::unique_ptr<EngineContext>> make_context(std::int64_t batch) override {
    ++script_.contexts;
    return std::unique_ptr<EngineContext>(
        std::make_unique<ScriptedContext>(package_, batch, script_));
  }

 private:
  const Package& package_;
  Script& script_;
};

}  // namespace dovetail
