// SPDX-License-Identifier: Apache-2.0
// Where a 4-bit weight lies: constexpr maps (n, k) -> (byte, shift), for host and device.
// Legend: N output features, K input features, G group size, u(n, k) the weight as 0..15.
//
// edgellm_v1, the guide's swizzle (TensorRT Edge-LLM 0.5). Little-endian 32-bit words of 8 nibbles;
// four rows n are interleaved in tiles of 64 k, 32 bytes per row and tile:
//   word   = ((n/4 * K64/64 + k/64) * 4 + n%4) * 8 + k%64/32 * 4 + k%8/2
//   nibble = k%32/8 + 4*(k%2)
// N is padded to a multiple of 4 and K to a multiple of 64 (the guide allows only such), with 8.
//
// cpu_v1, panels of 16 columns n; a 64-byte line holds 8 k of 16 n, in the order that vpdpbusd and
// pmaddubsw (4 neighbouring k of one n in a 32-bit lane, lanes = n) and the AMX B tile want:
//   line = n/16 * K/8 + k/8,  byte = line * 64 + n%16 * 4 + k%4,  low nibble if k%8 < 4, else high
// N is padded to a multiple of 16 with u = 8 (zero), K is a multiple of 32 already.
//
// cuda_v1, the B fragments of mma.m16n8k16 in lane order. A block is 16 n by 64 k, 512 bytes; lane
// l = n%8 * 4 + k%8/2 of a warp owns 16 bytes of it, four words, with edgellm_v1's nibbles in each:
//   word = ((n/16 * K64/64 + k/64) * 32 + l) * 4 + n%16/8 * 2 + k%64/32,  nibble = k%32/8 + 4*(k%2)
// so one 16-byte load gives a lane the fragments of two 8-column tiles for four k-steps, and a mask
// of the word (shifted by 4 i) two neighbouring k. N and K are padded to multiples of 64, with 8.
//
// Scales and zero points: edgellm_v1 and cuda_v1 [K/G, N]; cpu_v1 [N16/16, K/G, 16], with 0 and 8
// in padding columns. N16, K64: N, K rounded up to 16, 64.
#pragma once

#include <cstdint>

#include "dovetail/int4_gemm.h"
#include "layout/rounding.h"

namespace dovetail {

struct NibbleAddress {
  std::int64_t byte;
  int shift;  // 0 or 4
  constexpr bool operator==(const NibbleAddress&) const = default;
};

constexpr NibbleAddress edgellm_v1_address(std::int64_t n, std::int64_t k, std::int64_t total_k) {
  const std::int64_t tiles = round_up(total_k, 64) / 64;
  const std::int64_t word =
      ((n / 4 * tiles + k / 64) * 4 + n % 4) * 8 + (k % 64) / 32 * 4 + (k % 8) / 2;
  const std::int64_t nibble = (k % 32) / 8 + 4 * (k % 2);
  return {word * 4 + nibble / 2, static_cast<int>(nibble % 2 * 4)};
}

constexpr NibbleAddress cpu_v1_address(std::int64_t n, std::int64_t k, std::int64_t total_k) {
  const std::int64_t line = n / 16 * (total_k / 8) + k / 8;
  return {line * 64 + n % 16 * 4 + k % 4, k % 8 < 4 ? 0 : 4};
}

constexpr NibbleAddress cuda_v1_address(std::int64_t n, std::int64_t k, std::int64_t total_k) {
  const std::int64_t block = n / 16 * (round_up(total_k, 64) / 64) + k / 64;
  const std::int64_t lane = n % 8 * 4 + k % 8 / 2;
  const std::int64_t word = (block * 32 + lane) * 4 + n % 16 / 8 * 2 + k % 64 / 32;
  const std::int64_t nibble = k % 32 / 8 + 4 * (k % 2);
  return {word * 4 + nibble / 2, static_cast<int>(nibble % 2 * 4)};
}

// Index of the scale (and zero point) of column n, group g, in a layout.
constexpr std::int64_t scale_index(WeightLayout layout, std::int64_t n, std::int64_t g,
                                   std::int64_t total_n, std::int64_t groups) {
  return layout == WeightLayout::kCpuV1 ? (n / 16 * groups + g) * 16 + n % 16 : g * total_n + n;
}

Shape int4_weights_shape(WeightLayout layout, std::int64_t n, std::int64_t k);
Shape int4_scales_shape(WeightLayout layout, std::int64_t n, std::int64_t k, std::int64_t group);

}  // namespace dovetail
