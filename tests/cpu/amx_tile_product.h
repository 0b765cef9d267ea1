// SPDX-License-Identifier: Apache-2.0
// One product through tile.h, real or model; included by a translation unit of each.
#pragma once

#include "cpu/amx/tile.h"
#include "cpu/amx_tile_real.h"

namespace dovetail::cpu {
namespace {

// C is tile 0, A 1, B 2.
inline TileConfig product_shapes(int m, int k_bytes, int n) {
  TileConfig config;
  const int rows[3] = {m, m, k_bytes / 4};
  const int bytes[3] = {n * 4, k_bytes, n * 4};
  for (int i = 0; i < 3; ++i) {
    config.rows[i] = static_cast<std::uint8_t>(rows[i]);
    config.row_bytes[i] = static_cast<std::uint16_t>(bytes[i]);
  }
  return config;
}

inline void multiply(const TileProduct& p) {
  tile_configure(product_shapes(p.m, p.k_bytes, p.n));
  tile_load<0>(p.c, 64);
  tile_load<1>(p.a, 64);
  tile_load<2>(p.b, 64);
  if (p.int8) {
    tile_dot_int8<0, 1, 2>();
  } else {
    tile_dot_bf16<0, 1, 2>();
  }
  tile_store<0>(p.c, 64);
  tile_release();
}

}  // namespace
}  // namespace dovetail::cpu
