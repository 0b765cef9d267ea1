// SPDX-License-Identifier: Apache-2.0
// Test data that is the same on every machine: SplitMix64 (Steele, Lea, Flood 2014), no std
// distribution (their results differ between standard libraries). One seed per case, printed when
// the case fails.
#pragma once

#include <cstdint>

namespace dovetail::test_support {

class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed) {}

  std::uint64_t bits() {
    state_ += 0x9e3779b97f4a7c15ull;
    std::uint64_t z = state_;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ z >> 27) * 0x94d049bb133111ebull;
    return z ^ z >> 31;
  }

  // Integer in [low, high], both included.
  std::int64_t integer(std::int64_t low, std::int64_t high) {
    return low + static_cast<std::int64_t>(bits() % static_cast<std::uint64_t>(high - low + 1));
  }

  // In [low, high), with 24 random bits.
  float uniform(float low, float high) {
    return low + (high - low) * (static_cast<float>(bits() >> 40) * 0x1p-24f);
  }

  // About normal, mean 0 and variance 1: sum of four uniforms, so every value lies within +-3.5.
  float bell() {
    return (uniform(-1, 1) + uniform(-1, 1) + uniform(-1, 1) + uniform(-1, 1)) * 0.8660254f;
  }

 private:
  std::uint64_t state_;
};

}  // namespace dovetail::test_support
