// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <chrono>

#include "bench.h"

namespace dovetail::bench {

Timing time_calls(double seconds, const std::function<void(std::int64_t)>& run) {
  using Clock = std::chrono::steady_clock;
  constexpr std::int64_t kWarmUp = 2;
  constexpr std::size_t kSmallest = 5;
  std::vector<double> samples;
  const auto start = Clock::now();
  for (std::int64_t i = 0;; ++i) {
    const auto before = Clock::now();
    run(i);
    const auto after = Clock::now();
    if (i >= kWarmUp) {
      samples.push_back(std::chrono::duration<double, std::micro>(after - before).count());
    }
    if (samples.size() >= kSmallest &&
        std::chrono::duration<double>(after - start).count() > seconds) {
      break;
    }
  }
  std::sort(samples.begin(), samples.end());
  return {.median_us = samples[samples.size() / 2],
          .min_us = samples.front(),
          .p90_us = samples[samples.size() * 9 / 10],
          .samples = static_cast<int>(samples.size())};
}

nlohmann::json to_json(const Timing& t) {
  return {{"median_us", t.median_us},
          {"min_us", t.min_us},
          {"p90_us", t.p90_us},
          {"samples", t.samples}};
}

}  // namespace dovetail::bench
