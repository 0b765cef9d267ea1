// SPDX-License-Identifier: Apache-2.0
#include "ops/attention_reference.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "ops/attention.h"
#include "ops/attention_check.h"
#include "ops/element.h"

namespace dovetail {
namespace {

// Index maps of one call.
struct Maps {
  const AttentionProblem& p;
  const AttentionBuffers& buffers;

  std::int64_t head_size() const { return p.attributes.head_size; }
  std::int64_t q_heads() const { return p.attributes.num_q_heads; }
  std::int64_t kv_heads() const { return p.attributes.num_kv_heads; }
  // Element offset of head `head` of a token in qkv: Q heads, then K heads, then V heads.
  std::int64_t qkv(std::int64_t lane, std::int64_t token, std::int64_t head) const {
    return ((lane * p.tokens + token) * (q_heads() + 2 * kv_heads()) + head) * head_size();
  }
  // Element offset of a cache row; part 0: K, 1: V.
  std::int64_t cache(std::int64_t lane, int part, std::int64_t head, std::int64_t slot) const {
    return (((lane * 2 + part) * kv_heads() + head) * p.capacity + slot) * head_size();
  }
  double scale(int part) const {
    return p.cache_type == DataType::kFloat8E4M3 ? buffers.kv_scales[part] : 1.0;
  }
  // RoPE position of a token; -1: padding.
  std::int64_t position(std::int64_t lane, std::int64_t token) const {
    const LaneExtent extent = lane_extent(p, buffers, lane);
    if (token >= extent.new_tokens) {
      return -1;
    }
    return p.mode == AttentionMode::kTreeDecode ? buffers.attention_pos_id[lane * p.tokens + token]
                                                : extent.history + token;
  }
};

// One head of a token after norm and RoPE.
std::vector<double> rotated(const Maps& maps, std::int64_t lane, std::int64_t token,
                            std::int64_t head, const void* norm_weight) {
  const AttentionProblem& p = maps.p;
  const std::int64_t d = maps.head_size();
  std::vector<double> x(static_cast<std::size_t>(d));
  for (std::int64_t i = 0; i < d; ++i) {
    x[static_cast<std::size_t>(i)] =
        load_element(maps.buffers.qkv, p.activation_type, maps.qkv(lane, token, head) + i);
  }
  if (p.attributes.enable_qk_norm != 0) {
    double squares = 0;
    for (double v : x) {
      squares += v * v;
    }
    const double factor = 1 / std::sqrt(squares / static_cast<double>(d) +
                                        static_cast<double>(p.attributes.rms_norm_eps));
    for (std::int64_t i = 0; i < d; ++i) {
      x[static_cast<std::size_t>(i)] *= factor * load_element(norm_weight, p.activation_type, i);
    }
  }
  const std::int64_t half = p.rotary_width / 2;
  const std::int64_t table = p.rope_batch == 1 ? 0 : lane;
  const float* row = maps.buffers.rope_cos_sin +
                     (table * p.rope_rows + maps.position(lane, token)) * p.rotary_width;
  for (std::int64_t i = 0; i < half; ++i) {
    double& low = x[static_cast<std::size_t>(i)];
    double& high = x[static_cast<std::size_t>(i + half)];
    const double c = row[i];
    const double s = row[half + i];
    const double turned = low * c - high * s;
    high = high * c + low * s;
    low = turned;
  }
  return x;
}

// Slots that a token at `position` sees, each once.
std::vector<std::int64_t> visible_slots(const Maps& maps, std::int64_t lane, std::int64_t token) {
  const AttentionProblem& p = maps.p;
  const LaneExtent extent = lane_extent(p, maps.buffers, lane);
  const std::int64_t own = maps.position(lane, token);
  const std::int64_t window = p.attributes.sliding_window_size;
  const auto in_window = [&](std::int64_t position) {
    return window < 0 || position > own - window;
  };
  std::vector<std::int64_t> slots;
  const bool tree = p.mode == AttentionMode::kTreeDecode;
  const std::int64_t behind = tree ? extent.history : own + 1;
  for (std::int64_t s = 0; s < behind; ++s) {
    if (in_window(s)) {
      slots.push_back(s);
    }
  }
  if (tree) {
    const std::int64_t words = (p.tokens + 31) / 32;
    const std::int32_t* bits = maps.buffers.attention_mask + (lane * p.tokens + token) * words;
    for (std::int64_t j = 0; j < extent.new_tokens; ++j) {
      const std::int64_t position = maps.position(lane, j);
      const bool set = (static_cast<std::uint32_t>(bits[j / 32]) >> (j % 32) & 1u) != 0;
      if (set && position >= 0 && in_window(position)) {
        slots.push_back(extent.history + j);
      }
    }
  }
  return slots;
}

double rounded(double value, DataType type) {
  float storage = 0;
  store_element(&storage, type, 0, value);
  return load_element(&storage, type, 0);
}

double shaped_score(double dot, const AttentionProblem& p) {
  const double score = dot * static_cast<double>(softmax_scale(p.attributes));
  const double cap = p.attributes.logit_softcap;
  return cap > 0 ? cap * std::tanh(score / cap) : score;
}

// The visible rows of K (part 0) or V (part 1) of one head as numbers, [slots, D].
std::vector<double> visible_rows(const Maps& maps, std::int64_t lane, int part,
                                 std::int64_t kv_head, const std::vector<std::int64_t>& slots) {
  std::vector<double> rows;
  rows.reserve(slots.size() * static_cast<std::size_t>(maps.head_size()));
  for (std::int64_t slot : slots) {
    const std::int64_t row = maps.cache(lane, part, kv_head, slot);
    for (std::int64_t i = 0; i < maps.head_size(); ++i) {
      rows.push_back(load_element(maps.buffers.kv_cache, maps.p.cache_type, row + i) *
                     maps.scale(part));
    }
  }
  return rows;
}

// One query head over visible rows. T accumulates: double, or float in storage precision.
template <class T>
void attend_head(const AttentionProblem& p, const std::vector<double>& query,
                 const std::vector<double>& keys, const std::vector<double>& values, double* output,
                 double* magnitude) {
  constexpr bool kExact = sizeof(T) == sizeof(double);
  const std::size_t d = query.size();
  const std::size_t count = keys.size() / d;
  std::vector<T> scores(count);
  T top = -std::numeric_limits<T>::infinity();
  for (std::size_t n = 0; n < count; ++n) {
    T dot = 0;
    for (std::size_t i = 0; i < d; ++i) {
      dot += static_cast<T>(query[i]) * static_cast<T>(keys[n * d + i]);
    }
    scores[n] = static_cast<T>(shaped_score(static_cast<double>(dot), p));
    top = std::max(top, scores[n]);
  }
  std::vector<T> sums(d, T{0});
  T total = 0;
  for (std::size_t n = 0; n < count; ++n) {
    const T weight = std::exp(scores[n] - top);
    total += weight;
    const T used =
        kExact ? weight : static_cast<T>(rounded(static_cast<double>(weight), p.activation_type));
    for (std::size_t i = 0; i < d; ++i) {
      sums[i] += used * static_cast<T>(values[n * d + i]);
    }
  }
  for (std::size_t i = 0; i < d; ++i) {
    output[i] = count == 0 ? 0.0 : static_cast<double>(sums[i] / total);
  }
  for (std::size_t n = 0; n < count && magnitude != nullptr; ++n) {
    const double share = static_cast<double>(std::exp(scores[n] - top) / total);
    for (std::size_t i = 0; i < d; ++i) {
      magnitude[i] += share * std::abs(values[n * d + i]);
    }
  }
}

void copy_past(const Maps& maps) {
  const AttentionProblem& p = maps.p;
  const auto* past = static_cast<const unsigned char*>(maps.buffers.past_kv_cache);
  auto* cache = static_cast<unsigned char*>(maps.buffers.kv_cache);
  if (past == nullptr || past == cache) {
    return;
  }
  const auto element = static_cast<std::int64_t>(size_of(p.cache_type));
  for (std::int64_t b = 0; b < p.batch; ++b) {
    const std::int64_t bytes = lane_extent(p, maps.buffers, b).history * maps.head_size() * element;
    for (int part = 0; part < 2; ++part) {
      for (std::int64_t h = 0; h < maps.kv_heads(); ++h) {
        const std::int64_t at = maps.cache(b, part, h, 0) * element;
        std::memcpy(cache + at, past + at, static_cast<std::size_t>(bytes));
      }
    }
  }
}

}  // namespace

Status write_cache_reference(const AttentionProblem& p, const AttentionBuffers& buffers) {
  DOVETAIL_RETURN_IF_ERROR(check_call(p, buffers));
  const Maps maps{p, buffers};
  copy_past(maps);
  for (std::int64_t b = 0; b < p.batch; ++b) {
    const std::int64_t history = lane_extent(p, buffers, b).history;
    for (std::int64_t t = 0; t < p.tokens; ++t) {
      if (maps.position(b, t) < 0) {
        continue;
      }
      for (std::int64_t h = 0; h < maps.kv_heads(); ++h) {
        const auto k = rotated(maps, b, t, maps.q_heads() + h, buffers.k_norm_weight);
        const std::int64_t v = maps.qkv(b, t, maps.q_heads() + maps.kv_heads() + h);
        for (std::int64_t i = 0; i < maps.head_size(); ++i) {
          store_element(buffers.kv_cache, p.cache_type, maps.cache(b, 0, h, history + t) + i,
                        k[static_cast<std::size_t>(i)] / maps.scale(0));
          store_element(buffers.kv_cache, p.cache_type, maps.cache(b, 1, h, history + t) + i,
                        load_element(buffers.qkv, p.activation_type, v + i) / maps.scale(1));
        }
      }
    }
  }
  return Status::success();
}

void attend_reference(const AttentionProblem& p, const AttentionBuffers& buffers, std::int64_t lane,
                      std::int64_t token, ReferencePrecision precision, std::span<double> output,
                      std::span<double> magnitude) {
  const Maps maps{p, buffers};
  std::fill(output.begin(), output.end(), 0.0);
  std::fill(magnitude.begin(), magnitude.end(), 0.0);
  if (maps.position(lane, token) < 0) {
    return;
  }
  const std::vector<std::int64_t> slots = visible_slots(maps, lane, token);
  const std::int64_t group = maps.q_heads() / maps.kv_heads();
  for (std::int64_t g = 0; g < maps.kv_heads(); ++g) {
    const std::vector<double> keys = visible_rows(maps, lane, 0, g, slots);
    const std::vector<double> values = visible_rows(maps, lane, 1, g, slots);
    for (std::int64_t h = g * group; h < (g + 1) * group; ++h) {
      auto query = rotated(maps, lane, token, h, buffers.q_norm_weight);
      double* row = output.data() + h * maps.head_size();
      double* sizes = magnitude.empty() ? nullptr : magnitude.data() + h * maps.head_size();
      if (precision == ReferencePrecision::kExact) {
        attend_head<double>(p, query, keys, values, row, sizes);
        continue;
      }
      for (double& q : query) {
        q = rounded(q, p.activation_type);
      }
      attend_head<float>(p, query, keys, values, row, sizes);
    }
  }
}

Status attention_reference(const AttentionProblem& p, const AttentionBuffers& buffers) {
  DOVETAIL_RETURN_IF_ERROR(write_cache_reference(p, buffers));
  const std::int64_t row =
      static_cast<std::int64_t>(p.attributes.num_q_heads) * p.attributes.head_size;
  std::vector<double> output(static_cast<std::size_t>(row));
  for (std::int64_t b = 0; b < p.batch; ++b) {
    for (std::int64_t t = 0; t < p.tokens; ++t) {
      attend_reference(p, buffers, b, t, ReferencePrecision::kExact, output);
      for (std::int64_t i = 0; i < row; ++i) {
        store_element(buffers.output, p.activation_type, (b * p.tokens + t) * row + i,
                      output[static_cast<std::size_t>(i)]);
      }
    }
  }
  return Status::success();
}

}  // namespace dovetail
