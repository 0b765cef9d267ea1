// SPDX-License-Identifier: Apache-2.0
// How a tensor core adds. One element of D is computed in blocks of `block` products, k ascending:
//   1. products are exact; with the accumulator they form one sum of block + 1 terms;
//   2. every term is aligned to the largest exponent among them (a product's exponent is the sum of
//      its factors' exponents, not normalised) and cut, toward zero, `fraction` bits below it;
//   3. the cut terms are added exactly; the sum, cut toward zero to fp32, is the next accumulator.
// NaN and infinity follow IEEE; every NaN result is 0x7fffffff. Hopper adds 16 products at a time
// with 25 bits: verified on an H100 (README.md). Ampere and Ada add 8 with 24 bits: from published
// measurements, not verified here. E4m3 as sm_90's mma.sync does it: widened to half, 16 products
// (k % 4 < 2) and then the other 16 summed from zero, the result added to the accumulator in fp32,
// rounded to nearest; GPUs whose mma.sync takes E4m3 natively differ in the last bits.
#pragma once

#include <bit>

#include "simt/model.h"

namespace dovetail::simt {

struct TensorCore {
  int block, fraction;
};

constexpr TensorCore tensor_core(int arch) {
  return arch >= 90 ? TensorCore{16, 25} : TensorCore{8, 24};
}

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
float dot(const TensorCore& core, const Row& a, const Row& b, int depth, float accumulator);

}  // namespace dovetail::simt
