// SPDX-License-Identifier: Apache-2.0
// The continuation that the engines without a model favour:
//
//   next(history) = (7 * sum of history + 3 * last + length) mod 94
//
// so that a token in a wrong slot, order or lane changes it. Ids 0..93 are the printable characters
// '!'..'~' of the byte tokenizer.
#pragma once

#include <cstdint>
#include <numeric>
#include <span>
#include <vector>

namespace dovetail {

inline constexpr std::int64_t kScriptedIds = 94;
inline constexpr float kScriptedLogit = 10.0f;  // of the favoured token; the others have 0

inline std::int32_t scripted_next(std::span<const std::int32_t> history) {
  const std::int64_t sum = std::accumulate(history.begin(), history.end(), std::int64_t{0});
  const auto length = static_cast<std::int64_t>(history.size());
  return static_cast<std::int32_t>((7 * sum + 3 * history.back() + length) % kScriptedIds);
}

// The greedy continuation of `history`.
inline std::vector<std::int32_t> scripted_continuation(std::vector<std::int32_t> history,
                                                       int tokens) {
  const std::size_t prompt = history.size();
  for (int i = 0; i < tokens; ++i) {
    history.push_back(scripted_next(history));
  }
  history.erase(history.begin(), history.begin() + static_cast<std::ptrdiff_t>(prompt));
  return history;
}

}  // namespace dovetail
