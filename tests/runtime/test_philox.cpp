// SPDX-License-Identifier: Apache-2.0
// Philox against the known answers of its authors (Random123, kat_vectors, philox4x32 10).
#include <gtest/gtest.h>

#include "runtime/philox.h"

namespace dovetail {
namespace {

TEST(Philox, KnownAnswers) {
  EXPECT_EQ(philox({0, 0, 0, 0}, {0, 0}),
            (PhiloxCounter{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(philox({0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}, {0xffffffff, 0xffffffff}),
            (PhiloxCounter{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(philox({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
            (PhiloxCounter{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(Philox, UniformNumberUsesTheWholeOfEveryArgument) {
  // Words 0 and 1 of the first and second known answers, as 53-bit fractions.
  EXPECT_EQ(uniform_number(0, 0, 0), static_cast<double>(0x6627e8d5e169c58dull >> 11) * 0x1p-53);
  EXPECT_EQ(uniform_number(~0ull, ~0ull, ~0ull),
            static_cast<double>(0x408f276d41c83b0eull >> 11) * 0x1p-53);
  const double base = uniform_number(1, 2, 3);
  for (const int bit : {0, 31, 32, 63}) {
    EXPECT_NE(base, uniform_number(1 ^ (1ull << bit), 2, 3)) << bit;
    EXPECT_NE(base, uniform_number(1, 2 ^ (1ull << bit), 3)) << bit;
    EXPECT_NE(base, uniform_number(1, 2, 3 ^ (1ull << bit))) << bit;
  }
}

}  // namespace
}  // namespace dovetail
