// SPDX-License-Identifier: Apache-2.0
// Eight 4-bit weights of a 32-bit word to the B fragments of two m16n8k16 steps, as exact integers
// u - zero_point (-15 .. 15) in half or bfloat16. The scale is applied to the fp32 sum of a group
// later: no weight is ever rounded.
//
//   word nibbles   7654 3210   ->   pair i = nibbles (i, i + 4), one in the low bits of each half
//   k              odd  even        of the word, by one mask-and-or with an exponent: as half,
//                                   0x6400 | u is 1024 + u, and one nibble higher 0x6400 | 16 u is
//                                   1024 + 16 u; bfloat16 has 7 mantissa bits, 0x4300 | u is
//                                   128 + u, so its pairs are shifted down one by one
#pragma once

#include "cuda/ptx.cuh"

namespace dovetail::cuda {

inline constexpr uint8_t kAndOr = (0xf0 & 0xcc) | 0xaa;  // lop3: (a & b) | c

template <class T>
DOVETAIL_DEVICE void decode_int4(uint32_t word, uint32_t zero_point, uint32_t (&pair)[4]) {
  const uint32_t zero2 = zero_point * 0x00010001u;
  if constexpr (ptx::kIsHalf<T>) {
    constexpr uint32_t kMagic = 0x64006400u, kSixteenth = 0x2c002c00u;
    const uint32_t low = kMagic + zero2;               // 1024 + z
    const uint32_t high = 0xd400d400u + (zero2 << 4);  // -(64 + z)
    DOVETAIL_UNROLL
    for (int i = 0; i < 4; i += 2) {
      pair[i] = ptx::sub2<T>(ptx::lop3<kAndOr>(word, 0x000f000fu, kMagic), low);
      pair[i + 1] = ptx::fma2<T>(ptx::lop3<kAndOr>(word, 0x00f000f0u, kMagic), kSixteenth, high);
      word >>= 8;
    }
  } else {
    constexpr uint32_t kMagic = 0x43004300u;
    DOVETAIL_UNROLL
    for (int i = 0; i < 4; ++i) {
      pair[i] = ptx::sub2<T>(ptx::lop3<kAndOr>(word, 0x000f000fu, kMagic), kMagic + zero2);
      word >>= 4;
    }
  }
}

// The few-row kernel leaves masked nibbles as they are (its head says why).
template <class T>
struct Int4Digits {  // half: u * 2^-24 and u * 2^-20
  static constexpr uint32_t kOnes = 0x3c003c00u;
  static constexpr float kUnit = 0x1p-24f, kBias = 0.0f, kOdd = 0.0625f;
};
template <>
struct Int4Digits<ptx::BFloat16> {  // 128 + u
  static constexpr uint32_t kOnes = 0x3f803f80u;
  static constexpr float kUnit = 1.0f, kBias = 128.0f, kOdd = 1.0f;
};

// Pair i of a word, i = 0 .. 3: k = 8 i + 2 t and the next. Half: odd pairs are 16 times as large.
template <class T>
DOVETAIL_DEVICE void split_word(uint32_t word, uint32_t (&pair)[4]) {
  if constexpr (ptx::kIsHalf<T>) {
    pair[0] = word & 0x000f000fu;
    pair[1] = word & 0x00f000f0u;
    word >>= 8;
    pair[2] = word & 0x000f000fu;
    pair[3] = word & 0x00f000f0u;
  } else {
    constexpr uint32_t kMagic = 0x43004300u;
    DOVETAIL_UNROLL
    for (int i = 0; i < 4; ++i) {
      pair[i] = ptx::lop3<kAndOr>(word, 0x000f000fu, kMagic);
      word >>= 4;
    }
  }
}

}  // namespace dovetail::cuda
