// SPDX-License-Identifier: Apache-2.0
// The software conversions against the compiler's own binary16 (_Float16) and against exact
// arithmetic: every encoding round-trips, every midpoint between neighbours goes to the even one.
#include "layout/narrow_float.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace dovetail {
namespace {

TEST(NarrowFloat, HalfMatchesTheCompilerOnEveryEncoding) {
  for (std::uint32_t h = 0; h < 0x10000; ++h) {
    const auto bits = static_cast<std::uint16_t>(h);
    const float expected = static_cast<float>(std::bit_cast<_Float16>(bits));
    const float got = half_to_float(bits);
    if (std::isnan(expected)) {
      EXPECT_TRUE(std::isnan(got)) << h;
    } else {
      EXPECT_EQ(std::bit_cast<std::uint32_t>(got), std::bit_cast<std::uint32_t>(expected)) << h;
      EXPECT_EQ(float_to_half(got), bits);
    }
  }
}

TEST(NarrowFloat, FloatToHalfMatchesTheCompiler) {
  for (std::uint64_t bits = 0; bits < 0x100000000ull; bits += 4099) {  // a prime stride
    const float f = std::bit_cast<float>(static_cast<std::uint32_t>(bits));
    if (!std::isnan(f)) {
      EXPECT_EQ(float_to_half(f), std::bit_cast<std::uint16_t>(static_cast<_Float16>(f))) << f;
    }
  }
  EXPECT_EQ(float_to_half(65519.99f), 0x7bff);
  EXPECT_EQ(float_to_half(65520.0f), 0x7c00);
  EXPECT_TRUE(std::isnan(half_to_float(float_to_half(std::nanf("")))));
}

// Checks rounding of a format with positive encodings 0..last, by its own decoder.
template <class Decode, class Encode>
void check_rounding(std::uint32_t last, Decode decode, Encode encode) {
  for (std::uint32_t e = 0; e < last; ++e) {
    const double low = decode(e);
    const double high = decode(e + 1);
    ASSERT_LT(low, high);
    EXPECT_EQ(encode(static_cast<float>(low)), e);
    const auto middle = static_cast<float>((low + high) / 2);  // exact: one bit more than a code
    EXPECT_EQ(encode(middle), e + (e & 1u)) << middle;
    EXPECT_EQ(encode(std::nextafter(middle, 0.0f)), e);
    EXPECT_EQ(encode(std::nextafter(middle, std::numeric_limits<float>::infinity())), e + 1);
  }
}

TEST(NarrowFloat, Bfloat16RoundsToNearestEven) {
  const auto decode = [](std::uint32_t e) {
    return bfloat16_to_float(static_cast<std::uint16_t>(e));
  };
  check_rounding(0x7f7f, decode, float_to_bfloat16);
  EXPECT_EQ(float_to_bfloat16(std::numeric_limits<float>::infinity()), 0x7f80);
  EXPECT_EQ(float_to_bfloat16(std::numeric_limits<float>::max()), 0x7f80);
  EXPECT_TRUE(std::isnan(bfloat16_to_float(float_to_bfloat16(std::nanf("")))));
}

TEST(NarrowFloat, E4m3RoundsToNearestEvenAndSaturates) {
  check_rounding(
      0x7e, [](std::uint32_t e) { return e4m3_to_float(static_cast<std::uint8_t>(e)); },
      float_to_e4m3);
  EXPECT_EQ(e4m3_to_float(0x7e), 448.0f);
  EXPECT_EQ(float_to_e4m3(1e9f), 0x7e);
  EXPECT_EQ(float_to_e4m3(-1e9f), 0xfe);
  EXPECT_EQ(float_to_e4m3(std::numeric_limits<float>::infinity()), 0x7e);
  EXPECT_EQ(e4m3_to_float(0x01), 0x1p-9f);
  EXPECT_EQ(e4m3_to_float(0x08), 0x1p-6f);
  EXPECT_TRUE(std::isnan(e4m3_to_float(float_to_e4m3(std::nanf("")))));
}

}  // namespace
}  // namespace dovetail
