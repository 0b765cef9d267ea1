// SPDX-License-Identifier: Apache-2.0
// One product on the processor's tiles, for comparison with their model: tile.h is either the one
// or the other in a translation unit.
#pragma once

#include <cstdint>

namespace dovetail::cpu {

struct TileProduct {
  int m, k_bytes, n;
  bool int8;          // else bf16
  const void *a, *b;  // rows 64 bytes apart
  std::uint32_t* c;   // [16][16], in and out
};

void multiply_on_tiles(const TileProduct& p);  // only where the amx tier is available

}  // namespace dovetail::cpu
