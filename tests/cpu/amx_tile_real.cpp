// SPDX-License-Identifier: Apache-2.0
#include "cpu/amx_tile_product.h"

namespace dovetail::cpu {

void multiply_on_tiles(const TileProduct& p) {
  multiply(p);
}

}  // namespace dovetail::cpu
