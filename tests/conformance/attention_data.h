// SPDX-License-Identifier: Apache-2.0
// The tensors of an attention case, made from its seed: what every driver feeds its backend with.
// Slots beyond what a lane holds, and rows of padding tokens, are NaN and some infinities.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "attention_cases.h"
#include "support/random.h"
#include "support/typed_values.h"

namespace dovetail::test_support {

struct AttentionData {
  AttentionProblem problem;
  std::vector<std::int64_t> histories, lengths;  // as drawn
  std::vector<std::byte> qkv, cache, q_norm, k_norm;
  std::vector<std::int32_t> context_lengths, start_index, mask, position_ids;
  std::vector<float> rope;
  std::vector<float> kv_scales;

  // Pointers of everything but kv_cache, output and workspace.
  AttentionBuffers inputs() const {
    const auto data = [](const auto& v) { return v.empty() ? nullptr : v.data(); };
    AttentionBuffers buffers;
    buffers.qkv = data(qkv);
    buffers.context_lengths = data(context_lengths);
    buffers.rope_cos_sin = data(rope);
    buffers.kv_start_index = data(start_index);
    buffers.attention_mask = data(mask);
    buffers.attention_pos_id = data(position_ids);
    buffers.kv_scales = data(kv_scales);
    buffers.q_norm_weight = data(q_norm);
    buffers.k_norm_weight = data(k_norm);
    return buffers;
  }
  std::size_t output_count() const {
    const AttentionProblem& p = problem;
    return static_cast<std::size_t>(p.batch * p.tokens * p.attributes.num_q_heads *
                                    p.attributes.head_size);
  }
  std::size_t output_bytes() const { return output_count() * size_of(problem.activation_type); }
};

namespace attention_data {

inline void draw_lanes(const AttentionCase& c, Random& random, AttentionData& data) {
  const bool decode = c.mode == AttentionMode::kDecode;
  const bool tree = c.mode == AttentionMode::kTreeDecode;
  for (std::int64_t b = 0; b < c.batch; ++b) {
    const auto lane = static_cast<std::size_t>(b);
    const std::int64_t length = c.lengths.empty() ? c.tokens : c.lengths[lane];
    std::int64_t history = 0;
    if (!c.histories.empty()) {
      history = c.histories[lane];
    } else if (c.mode != AttentionMode::kPrefill) {
      history =
          random.integer(std::min(c.capacity / 4, c.capacity - c.tokens), c.capacity - c.tokens);
    }
    data.histories.push_back(history);
    data.lengths.push_back(length);
    std::int64_t context = length;
    if ((decode && length > 0 && !c.remainder) || tree) {
      context = history + length;
    }
    data.context_lengths.push_back(static_cast<std::int32_t>(context));
    if (c.mode != AttentionMode::kPrefill) {
      data.start_index.push_back(static_cast<std::int32_t>(history));
    }
  }
}

inline void draw_tree(const AttentionCase& c, Random& random, AttentionData& data) {
  const std::int64_t words = (c.tokens + 31) / 32;
  data.mask.assign(static_cast<std::size_t>(c.batch * c.tokens * words), 0);
  for (std::int64_t b = 0; b < c.batch; ++b) {
    std::vector<std::int64_t> parent(static_cast<std::size_t>(c.tokens), -1);
    std::vector<std::int64_t> depth(static_cast<std::size_t>(c.tokens), 0);
    for (std::int64_t i = 0; i < c.tokens; ++i) {
      const auto at = static_cast<std::size_t>(i);
      if (i > 0) {
        parent[at] = c.mask == MaskKind::kCausal ? i - 1 : random.integer(0, i - 1);
        depth[at] = depth[static_cast<std::size_t>(parent[at])] + 1;
      }
      const bool padding = i >= c.tokens - c.tree_padding;
      data.position_ids.push_back(
          padding
              ? -1
              : static_cast<std::int32_t>(data.histories[static_cast<std::size_t>(b)] + depth[at]));
      std::int32_t* row = data.mask.data() + (b * c.tokens + i) * words;
      const auto set = [&](std::int64_t j) {
        row[j / 32] =
            static_cast<std::int32_t>(static_cast<std::uint32_t>(row[j / 32]) | 1u << (j % 32));
      };
      for (std::int64_t j = 0; j < c.tokens && c.mask == MaskKind::kRandom; ++j) {
        if (random.integer(0, 1) == 1) {
          set(j);
        }
      }
      for (std::int64_t j = i; j >= 0 && c.mask != MaskKind::kRandom;
           j = parent[static_cast<std::size_t>(j)]) {
        set(j);
      }
      for (std::int64_t j = c.tokens - c.tree_padding; j < c.tokens; ++j) {
        set(j);  // a mask that shows padding must not make it visible
      }
    }
  }
}

inline void fill_rope(const AttentionCase& c, Random& random, AttentionData& data) {
  const AttentionProblem& p = data.problem;
  const std::int64_t half = p.rotary_width / 2;
  data.rope.resize(static_cast<std::size_t>(p.rope_batch * p.rope_rows * p.rotary_width));
  float* row = data.rope.data();
  for (std::int64_t b = 0; b < p.rope_batch; ++b) {
    const double offset = b == 0 ? 0 : static_cast<double>(random.uniform(0, 3));
    for (std::int64_t s = 0; s < p.rope_rows; ++s, row += p.rotary_width) {
      for (std::int64_t i = 0; i < half; ++i) {
        const double frequency =
            std::pow(c.theta, -2.0 * static_cast<double>(i) / static_cast<double>(p.rotary_width));
        const double angle = (static_cast<double>(s) + offset) * frequency;
        row[i] = static_cast<float>(std::cos(angle));
        row[half + i] = static_cast<float>(std::sin(angle));
      }
    }
  }
}

// What K and V of a slot (past or new token of a lane) and Q of a new token hold, element i.
struct Values {
  const AttentionCase& c;
  Random& random;

  // kOneHot: a token at slot s selects slot s / 2.
  double q(std::int64_t slot, std::int64_t i) { return one_hot(slot / 2, i, 64); }
  double k(std::int64_t slot, std::int64_t i) { return one_hot(slot, i, 1); }
  double v(std::int64_t slot, std::int64_t i) {
    switch (c.content) {
      case Content::kRandom:
        return draw();
      case Content::kUniform:
        return slot % c.d == i ? 1 : 0;
      case Content::kOneHot:
        return static_cast<double>((slot * 7 + i) % 61 - 30);
    }
    return 0;
  }

 private:
  double draw() { return static_cast<double>(random.uniform(-c.range, c.range)); }
  double one_hot(std::int64_t slot, std::int64_t i, double height) {
    switch (c.content) {
      case Content::kRandom:
        return draw();
      case Content::kUniform:
        return 0;
      case Content::kOneHot:
        return slot % c.d == i ? height : 0;
    }
    return 0;
  }
};

}  // namespace attention_data

inline AttentionData make_attention_data(const AttentionCase& c) {
  Random random(seed_of(c));
  AttentionData data;
  data.problem = {
      .attributes = {.num_q_heads = static_cast<std::int32_t>(c.q_heads),
                     .num_kv_heads = static_cast<std::int32_t>(c.kv_heads),
                     .head_size = static_cast<std::int32_t>(c.d),
                     .enable_tree_attention = c.mode == AttentionMode::kTreeDecode ? 1 : 0,
                     .enable_fp8_kv_cache = c.cache == DataType::kFloat8E4M3 ? 1 : 0,
                     .sliding_window_size = c.window,
                     .attention_scale = c.scale,
                     .logit_softcap = c.softcap,
                     .enable_qk_norm = c.norm ? 1 : 0},
      .mode = c.mode,
      .activation_type = c.activation,
      .cache_type = c.cache,
      .batch = c.batch,
      .tokens = c.tokens,
      .capacity = c.capacity,
      .rope_batch = c.lane_rope ? c.batch : 1,
      .rope_rows = c.rope_rows > 0 ? c.rope_rows : c.capacity,
      .rotary_width = c.rotary > 0 ? c.rotary : c.d,
  };
  attention_data::draw_lanes(c, random, data);
  if (c.mode == AttentionMode::kTreeDecode) {
    attention_data::draw_tree(c, random, data);
  }
  if (c.content == Content::kOneHot) {  // exact selection needs unrotated vectors
    const AttentionProblem& p = data.problem;
    data.rope.assign(static_cast<std::size_t>(p.rope_batch * p.rope_rows * p.rotary_width), 0.0f);
    for (std::int64_t row = 0; row < p.rope_batch * p.rope_rows; ++row) {
      std::fill_n(data.rope.begin() + row * p.rotary_width, p.rotary_width / 2, 1.0f);
    }
  } else {
    attention_data::fill_rope(c, random, data);
  }
  if (c.cache == DataType::kFloat8E4M3) {
    data.kv_scales = {c.range / 448.0f * 1.25f, c.range / 448.0f};
    if (c.content != Content::kRandom) {
      data.kv_scales = {0.5f, 0.25f};
    }
  }
  attention_data::Values values{c, random};
  const std::int64_t heads = c.q_heads + 2 * c.kv_heads;
  data.qkv.assign(
      static_cast<std::size_t>(c.batch * c.tokens * heads * c.d) * size_of(c.activation),
      std::byte{0xff});
  data.cache.assign(
      static_cast<std::size_t>(c.batch * 2 * c.kv_heads * c.capacity * c.d) * size_of(c.cache),
      std::byte{0xff});
  for (std::int64_t b = 0; b < c.batch; ++b) {
    const std::int64_t history = data.histories[static_cast<std::size_t>(b)];
    for (std::int64_t t = 0; t < data.lengths[static_cast<std::size_t>(b)]; ++t) {
      if (c.mode == AttentionMode::kTreeDecode && t >= c.tokens - c.tree_padding) {
        continue;
      }
      for (std::int64_t h = 0; h < heads; ++h) {
        for (std::int64_t i = 0; i < c.d; ++i) {
          const double x = h < c.q_heads                ? values.q(history + t, i)
                           : h < c.q_heads + c.kv_heads ? values.k(history + t, i)
                                                        : values.v(history + t, i);
          store_value(data.qkv.data(), c.activation,
                      static_cast<std::size_t>(((b * c.tokens + t) * heads + h) * c.d + i), x);
        }
      }
    }
    for (std::int64_t part = 0; part < 2; ++part) {
      const double scale =
          data.kv_scales.empty()
              ? 1.0
              : static_cast<double>(data.kv_scales[static_cast<std::size_t>(part)]);
      for (std::int64_t h = 0; h < c.kv_heads; ++h) {
        const std::int64_t base = (((b * 2 + part) * c.kv_heads) + h) * c.capacity;
        for (std::int64_t s = 0; s < std::min(c.capacity, history + 4); ++s) {
          for (std::int64_t i = 0; i < c.d; ++i) {
            const double x = s >= history ? INFINITY : part == 0 ? values.k(s, i) : values.v(s, i);
            store_value(data.cache.data(), c.cache, static_cast<std::size_t>((base + s) * c.d + i),
                        x / scale);
          }
        }
      }
    }
  }
  for (std::vector<std::byte>* weight : {&data.q_norm, &data.k_norm}) {
    if (c.norm) {
      weight->resize(static_cast<std::size_t>(c.d) * size_of(c.activation));
      for (std::size_t i = 0; i < static_cast<std::size_t>(c.d); ++i) {
        store_value(weight->data(), c.activation, i,
                    static_cast<double>(random.uniform(0.5f, 1.5f)));
      }
    }
  }
  return data;
}

}  // namespace dovetail::test_support
