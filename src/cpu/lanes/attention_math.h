// SPDX-License-Identifier: Apache-2.0
// exp2 and tanh on lanes. Include after a tier's float_vector.h; internal linkage: a copy a tier.
//
// The polynomials are least-maximum fits made for these ranges; errors are relative, on top of fp32
// rounding (about 1 ulp): exp2 1.9e-9 on [-0.5, 0.5], tanh 4.7e-9 on [0, 0.63].
#pragma once

namespace dovetail {
namespace {

// 2^x for x <= 0: exactly 1 at 0, exactly 0 far below (also for -infinity), NaN for NaN. Where
// the result is subnormal, below -126, it is off by up to 2^-127.
DOVETAIL_ALWAYS_INLINE Vec exp2_lanes(Vec x) {
  Vec f;
  const Vec n = whole_power(x, &f);
  Vec p = splat(0.000153458118f);
  p = fma(p, f, splat(0.00133999312f));
  p = fma(p, f, splat(0.00961848896f));
  p = fma(p, f, splat(0.0555032878f));
  p = fma(p, f, splat(0.240226469f));
  p = fma(p, f, splat(0.693147206f));
  p = fma(p, f, splat(1.0f));
  return times_power(p, n);
}

DOVETAIL_ALWAYS_INLINE Vec tanh_lanes(Vec x) {
  const Vec a = magnitude(x);
  const Vec t = mul(a, a);
  Vec p = splat(-0.00566078526f);
  p = fma(p, t, splat(0.020602004f));
  p = fma(p, t, splat(-0.0537292287f));
  p = fma(p, t, splat(0.133313289f));
  p = fma(p, t, splat(-0.333332783f));
  const Vec near_zero = fma(mul(a, t), p, a);
  // tanh(a) = 1 - 2e / (1 + e) with e = exp(-2a)
  const Vec e = exp2_lanes(mul(a, splat(-2.88539008f)));
  const Vec far = sub(splat(1.0f), divide(add(e, e), add(splat(1.0f), e)));
  return with_sign_of(where_below(a, splat(0.625f), near_zero, far), x);
}

constexpr float kNothingSeen =
    -1e37f;  // start of a running maximum: finite, so that no inf - inf arises

DOVETAIL_ALWAYS_INLINE float minus_infinity() {
  return -__builtin_inff();
}
DOVETAIL_ALWAYS_INLINE std::int64_t lesser(std::int64_t a, std::int64_t b) {
  return a < b ? a : b;
}
DOVETAIL_ALWAYS_INLINE std::int64_t greater(std::int64_t a, std::int64_t b) {
  return a > b ? a : b;
}

}  // namespace
}  // namespace dovetail
