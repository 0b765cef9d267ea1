// SPDX-License-Identifier: Apache-2.0
// Whole-number division upwards, for positive divisors.
#pragma once

#include <cstdint>

namespace dovetail {

constexpr std::int64_t divide_up(std::int64_t value, std::int64_t divisor) {
  return (value + divisor - 1) / divisor;
}

constexpr std::int64_t round_up(std::int64_t value, std::int64_t multiple) {
  return divide_up(value, multiple) * multiple;
}

}  // namespace dovetail
