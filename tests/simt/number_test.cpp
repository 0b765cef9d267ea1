// SPDX-License-Identifier: Apache-2.0
// The number formats against arithmetic that does not share their code: every half, bfloat and E4m3
// value round-trips, and rounding is checked at the midpoints between neighbours.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>

#include "cuda/ptx/number.cuh"
#include "simt/tensor_core.h"

namespace dovetail::simt {
namespace {

using ptx::BFloat16;
using ptx::Half;

float half_to_float(uint32_t bits) {
  return ptx::to_float(Half{static_cast<uint16_t>(bits)});
}
float bfloat_to_float(uint32_t bits) {
  return ptx::to_float(BFloat16{static_cast<uint16_t>(bits)});
}
float e4m3_to_float(uint32_t bits) {
  return half_to_float(ptx::e4m3_to_half2(static_cast<uint16_t>(bits)));
}
uint32_t float_to_half(float v) {
  return ptx::round_to<Half>(v).bits;
}
uint32_t float_to_bfloat(float v) {
  return ptx::round_to<BFloat16>(v).bits;
}
uint32_t float_to_e4m3(float v) {
  return ptx::pack2_e4m3(v, 0.0f) & 0xff;
}

// Neighbours a < b (as codes): below, at and above the midpoint; ties go to the even code.
template <class Decode, class Encode>
void check_rounding(uint32_t last_finite, Decode decode, Encode encode) {
  for (uint32_t code = 0; code < last_finite; ++code) {
    const double low = decode(code), high = decode(code + 1);
    const float middle = static_cast<float>((low + high) / 2);
    ASSERT_EQ(encode(static_cast<float>(low)), code);
    ASSERT_EQ(encode(middle), code % 2 == 0 ? code : code + 1) << code;
    ASSERT_EQ(encode(std::nextafter(middle, 0.0f)), code);
    ASSERT_EQ(encode(std::nextafter(middle, INFINITY)), code + 1);
  }
}

TEST(Half, RoundsToNearestEven) {
  EXPECT_EQ(half_to_float(0x0001), std::ldexp(1.0f, -24));
  EXPECT_EQ(half_to_float(0x0400), std::ldexp(1.0f, -14));
  EXPECT_EQ(half_to_float(0x7bff), 65504.0f);
  EXPECT_EQ(half_to_float(0xc000), -2.0f);
  check_rounding(0x7bff, half_to_float, float_to_half);
  EXPECT_EQ(float_to_half(65519.996f), 0x7bff);
  EXPECT_EQ(float_to_half(65520.0f), 0x7c00);
  EXPECT_EQ(float_to_half(-INFINITY), 0xfc00);
  EXPECT_EQ(float_to_half(std::nanf("")), 0x7fff);
  EXPECT_TRUE(std::isnan(half_to_float(0x7fff)));
  EXPECT_EQ(float_to_half(-0.0f), 0x8000);
}

TEST(BFloat16, RoundsToNearestEven) {
  check_rounding(0x7f7f, bfloat_to_float, float_to_bfloat);
  EXPECT_EQ(float_to_bfloat(std::numeric_limits<float>::max()), 0x7f80);
  EXPECT_EQ(float_to_bfloat(-INFINITY), 0xff80);
  EXPECT_EQ(float_to_bfloat(std::nanf("")), 0x7fff);
}

TEST(E4m3, RoundsToNearestEvenAndSaturates) {
  EXPECT_EQ(e4m3_to_float(0x01), std::ldexp(1.0f, -9));
  EXPECT_EQ(e4m3_to_float(0x08), std::ldexp(1.0f, -6));
  EXPECT_EQ(e4m3_to_float(0x7e), 448.0f);
  EXPECT_EQ(e4m3_to_float(0xb8), -1.0f);
  check_rounding(0x7e, e4m3_to_float, float_to_e4m3);
  EXPECT_EQ(float_to_e4m3(1e9f), 0x7e);
  EXPECT_EQ(float_to_e4m3(-INFINITY), 0xfe);
  EXPECT_EQ(float_to_e4m3(std::nanf("")), 0x7f);
  EXPECT_EQ(ptx::e4m3_to_half2(0x3801), 0x3c000000u | float_to_half(std::ldexp(1.0f, -9)));
}

TEST(PackedArithmetic, RoundsOnce) {
  // 1 + 2^-11 (a tie in half) + 2^-24: rounding the product first would lose the last term.
  const uint32_t one = 0x3c003c00, a = 0x3c013c01;
  EXPECT_EQ(ptx::fma2<Half>(a, a, 0), 0x3c023c02u);                // 1 + 2^-9 + 2^-20
  EXPECT_EQ(ptx::fma2<Half>(one, one, 0x10001000u), 0x3c003c00u);  // + 2^-11: tie to even
  EXPECT_EQ(ptx::fma2<Half>(a, one, 0x10001000u), 0x3c023c02u);    // tie to even, upwards
  EXPECT_EQ(ptx::fma2<Half>(one, 0x3c003c00u, 0x10011001u), 0x3c013c01u);
  EXPECT_EQ(ptx::fma2<Half>(0x7bff7bffu, 0x40004000u, 0), 0x7c007c00u);
  EXPECT_EQ(ptx::fma2<BFloat16>(0x3f813f81u, 0x3f813f81u, 0), 0x3f823f82u);
  EXPECT_EQ(ptx::fma2<BFloat16>(0x3f803f80u, 0x3f803f80u, 0x3b803b80u), 0x3f803f80u);
  EXPECT_EQ(ptx::fma2<BFloat16>(0x3f803f80u, 0x3f803f80u, 0x3b813b81u), 0x3f813f81u);
  // Random: the exact sum is representable in long double for these exponents.
  std::mt19937 random(7);
  for (int i = 0; i < 20000; ++i) {
    auto draw = [&] { return static_cast<uint16_t>(0x2c00 + random() % 0x1c00); };
    const uint16_t x = draw(), y = draw(), z = draw();
    const long double exact =
        static_cast<long double>(half_to_float(x)) * half_to_float(y) + half_to_float(z);
    const uint32_t result = ptx::fma2<Half>(x, y, z) & 0xffff;
    const long double error = fabsl(half_to_float(result) - exact);
    EXPECT_LE(error, fabsl(half_to_float(result + 1) - exact));
    EXPECT_LE(error, fabsl(half_to_float(result - 1) - exact));
  }
}

TEST(Bits, Lop3AndPermute) {
  EXPECT_EQ((ptx::lop3<(0xf0 & 0xcc) | 0xaa>(0xff00ff00u, 0x0ff00ff0u, 0x1u)), 0x0f000f01u);
  EXPECT_EQ(ptx::permute_bytes(0x33221180u, 0x77665544u, 0x7508), 0x775580ffu);
}

TEST(TensorCoreSum, CutsTowardZeroBelowTheLargestTerm) {
  Row a, b;
  auto set = [&](int k, float v) { a.set(k, Format::kHalf, float_to_half(v)); };
  for (int k = 0; k < 16; ++k) {
    set(k, 0);
    b.set(k, Format::kHalf, float_to_half(1));
  }
  set(0, 1.5f), set(9, -0.25f);
  EXPECT_EQ(dot(a, b, 16, 2.0f), 3.25f);
  // Beside 1, a term of 2^-24 survives the cut but not fp32; two of them make one last bit of fp32.
  set(0, 1), set(9, 0), set(1, 0x1p-24f), set(2, 0x1p-24f);
  EXPECT_EQ(dot(a, b, 16, 0.0f), 1.0f + 0x1p-23f);
  // In different halves of k they meet too: sixteen products at a time.
  set(2, 0), set(9, 0x1p-24f);
  EXPECT_EQ(dot(a, b, 16, 0.0f), 1.0f + 0x1p-23f);
  set(3, INFINITY);
  EXPECT_EQ(dot(a, b, 16, 0.0f), INFINITY);
  EXPECT_TRUE(std::isnan(dot(a, b, 16, -INFINITY)));
}

}  // namespace
}  // namespace dovetail::simt
