// SPDX-License-Identifier: Apache-2.0
#include "cpu/amx/tile.h"
#include "roofs.h"

namespace dovetail::bench {
namespace {

// Four products a round, into four tiles, so that none waits for the one before.
std::int32_t int8(std::int64_t rounds) {
  cpu::TileConfig config;
  for (int tile = 0; tile < 8; ++tile) {
    config.rows[tile] = 16;
    config.row_bytes[tile] = 64;
  }
  cpu::tile_configure(config);
  for (std::int64_t i = 0; i < rounds; ++i) {
    cpu::tile_dot_int8<0, 4, 6>();
    cpu::tile_dot_int8<1, 4, 7>();
    cpu::tile_dot_int8<2, 5, 6>();
    cpu::tile_dot_int8<3, 5, 7>();
  }
  alignas(64) std::int32_t sums[16 * 16];
  cpu::tile_store<0>(sums, 64);
  cpu::tile_release();
  return sums[0];
}

}  // namespace

const RoofLoops kRoofLoopsAmx = {nullptr, nullptr, int8, 0, 4 * 16 * 16 * 64 * 2};

}  // namespace dovetail::bench
