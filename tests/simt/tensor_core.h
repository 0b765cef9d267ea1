// SPDX-License-Identifier: Apache-2.0
// How a tensor core of Hopper adds. One element of D takes 16 products at a time, k ascending:
//   1. products are exact; with the accumulator they form one sum of 17 terms;
//   2. every term is aligned to the largest exponent among them (a product's exponent is the sum of
//      its factors' exponents, not normalised) and cut, toward zero, 25 bits below it;
//   3. the cut terms are added exactly; the sum, cut toward zero to fp32, is the next accumulator.
// NaN and infinity follow IEEE; every NaN result is 0x7fffffff. Verified on an H100 (README.md);
// Ampere and Ada, by published measurements, add 8 products with 24 bits: not modelled. E4m3 as sm_90's mma.sync does it: widened to half, 16 products
// (k % 4 < 2) and then the other 16 summed from zero, the result added to the accumulator in fp32,
// rounded to nearest; GPUs whose mma.sync takes E4m3 natively differ in the last bits.
#pragma once

#include <bit>

#include "simt/model.h"

namespace dovetail::simt {

// A row of A or a column of B. `exponent` is that of the number's leading bit; zero has
// kZeroExponent, which never wins, and a subnormal number the format's smallest.
inline constexpr int kMaxDepth = 32, kZeroExponent = -4096;
struct Row {
  double value[kMaxDepth];
  int32_t exponent[kMaxDepth];
  bool finite = true;

  void set(int k, Format format, uint32_t bits);
};

inline float canonical(float v) {
  return v == v ? v : std::bit_cast<float>(0x7fffffffu);
}

// accumulator + sum of a[k] * b[k] for k < depth.
float dot(const Row& a, const Row& b, int depth, float accumulator);

}  // namespace dovetail::simt
