// SPDX-License-Identifier: Apache-2.0
// Judges what a backend left in output and cache, in two steps that keep errors apart:
//   cache   slots of new tokens equal the fp64 reference up to one unit of the cache type (two
//           correct computations may round to neighbours); all other slots are bitwise untouched.
//   output  against the fp64 reference over the cache that the backend itself wrote, within the
//           error budget; rows of padding are zero. Long cases check a spread of tokens, the first
//           and the last among them.
#pragma once

#include <algorithm>
#include <cmath>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "attention_data.h"
#include "ops/attention_reference.h"
#include "support/error_budget.h"

namespace dovetail::test_support {

inline constexpr double kReferenceWork = 2e7;  // multiply-adds of the reference per case

inline std::string check_cache(const AttentionCase& c, const AttentionData& data,
                               std::span<const std::byte> got) {
  std::vector<std::byte> expected = data.cache;
  std::vector<std::byte> unused_output(data.output_bytes());
  AttentionBuffers buffers = data.inputs();
  buffers.kv_cache = expected.data();
  buffers.output = unused_output.data();
  if (Status status = write_cache_reference(data.problem, buffers); !status.ok()) {
    return status.message();
  }
  const auto element = size_of(c.cache);
  const auto row_bytes = static_cast<std::size_t>(c.d) * element;
  for (std::int64_t row = 0; row < c.batch * 2 * c.kv_heads * c.capacity; ++row) {
    const auto offset = static_cast<std::size_t>(row) * row_bytes;
    const std::int64_t slot = row % c.capacity;
    const std::int64_t lane = row / (2 * c.kv_heads * c.capacity);
    const bool is_key = row / (c.kv_heads * c.capacity) % 2 == 0;
    const std::int64_t token = slot - data.histories[static_cast<std::size_t>(lane)];
    const bool written =
        token >= 0 && token < data.lengths[static_cast<std::size_t>(lane)] &&
        !(c.mode == AttentionMode::kTreeDecode && token >= c.tokens - c.tree_padding);
    if (!written) {
      // A separate past is copied up to the history; what lies behind it is unspecified there.
      if (c.separate_past && token >= 0) {
        continue;
      }
      if (std::memcmp(got.data() + offset, data.cache.data() + offset, row_bytes) != 0) {
        return "cache row " + std::to_string(row) + " (slot " + std::to_string(slot) + " of lane " +
               std::to_string(lane) + ") changed, expected it untouched";
      }
      continue;
    }
    const auto want = load_values(expected.data() + offset, c.cache, static_cast<std::size_t>(c.d));
    const auto have = load_values(got.data() + offset, c.cache, static_cast<std::size_t>(c.d));
    double largest = 0;
    for (double x : want) {
      largest = std::max(largest, std::abs(x));
    }
    for (std::size_t i = 0; i < want.size(); ++i) {
      // V is only converted; K also carries the fp32 rounding of norm and rotation.
      const double allowed =
          (is_key || !data.kv_scales.empty() ? 2 * half_unit(want[i], c.cache) : 0) +
          (is_key ? 0x1p-22 * largest : 0);
      if (!(std::abs(have[i] - want[i]) <= allowed)) {
        return "cache row " + std::to_string(row) + " (slot " + std::to_string(slot) + " of lane " +
               std::to_string(lane) + (is_key ? ", K" : ", V") + ") element " + std::to_string(i) +
               " is " + std::to_string(have[i]) + ", expected " + std::to_string(want[i]);
      }
    }
  }
  return "";
}

// Tokens of a lane whose output is compared.
inline std::set<std::int64_t> tokens_to_check(const AttentionCase& c, std::int64_t total,
                                              std::int64_t fresh) {
  const double per_token =
      static_cast<double>(c.q_heads * c.d * std::max<std::int64_t>(total, 1) * 4 * c.batch);
  const auto affordable = std::clamp<std::int64_t>(
      static_cast<std::int64_t>(kReferenceWork / per_token), 2, std::max<std::int64_t>(fresh, 2));
  std::set<std::int64_t> tokens;
  for (std::int64_t i = 0; i < affordable && fresh > 0; ++i) {
    tokens.insert(i * (fresh - 1) / std::max<std::int64_t>(affordable - 1, 1));
  }
  return tokens;
}

inline std::string check_output(const AttentionCase& c, const AttentionData& data,
                                std::span<const std::byte> cache, const void* output) {
  std::vector<std::byte> own_cache(cache.begin(), cache.end());
  AttentionBuffers buffers = data.inputs();
  buffers.kv_cache = own_cache.data();
  const auto width = static_cast<std::size_t>(c.q_heads * c.d);
  std::vector<double> got, model, reference, magnitude;
  std::vector<double> row(width);
  std::vector<double> sizes(width);
  for (std::int64_t b = 0; b < c.batch; ++b) {
    const std::int64_t fresh = data.lengths[static_cast<std::size_t>(b)];
    const std::int64_t total = data.histories[static_cast<std::size_t>(b)] + fresh;
    const auto output_row = [&](std::int64_t t) {
      const auto bytes = width * size_of(c.activation);
      return load_values(static_cast<const std::byte*>(output) +
                             static_cast<std::size_t>(b * c.tokens + t) * bytes,
                         c.activation, width);
    };
    for (std::int64_t t = 0; t < c.tokens; ++t) {
      const bool padding =
          t >= fresh || (c.mode == AttentionMode::kTreeDecode && t >= c.tokens - c.tree_padding);
      const auto values = output_row(t);
      if (std::any_of(values.begin(), values.end(), [&](double x) {
            return padding ? x != 0 || std::signbit(x) : !std::isfinite(x);
          })) {
        return "output of lane " + std::to_string(b) + ", token " + std::to_string(t) +
               (padding ? " is not zero, expected zero for padding" : " is not finite");
      }
    }
    for (std::int64_t t : tokens_to_check(c, total, fresh)) {
      const auto values = output_row(t);
      got.insert(got.end(), values.begin(), values.end());
      attend_reference(data.problem, buffers, b, t, ReferencePrecision::kExact, row, sizes);
      reference.insert(reference.end(), row.begin(), row.end());
      magnitude.insert(magnitude.end(), sizes.begin(), sizes.end());
      attend_reference(data.problem, buffers, b, t, ReferencePrecision::kStorage, row);
      model.insert(model.end(), row.begin(), row.end());
    }
  }
  for (double& x : model) {
    x = rounded(x, c.activation);
  }
  if (c.content == Content::kOneHot) {
    return check_equal(got, reference);
  }
  if (c.content == Content::kUniform) {  // exact sums, one division and one multiplication
    for (std::size_t i = 0; i < got.size(); ++i) {
      if (!(std::abs(got[i] - reference[i]) <=
            3 * half_unit(reference[i], c.activation) * (reference[i] != 0))) {
        return "element " + std::to_string(i) + " is " + std::to_string(got[i]) + ", expected " +
               std::to_string(reference[i]) + " to the rounding";
      }
    }
    return "";
  }
  return check_error_budget({.got = got,
                             .model = model,
                             .reference = reference,
                             .magnitude = magnitude,
                             .storage = c.activation});
}

}  // namespace dovetail::test_support
