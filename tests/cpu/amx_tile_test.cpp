// SPDX-License-Identifier: Apache-2.0
// The model of the tile instructions (src/cpu/amx/tile_twin.h) against plain arithmetic; and, on a
// CPU with tiles, against the instructions bit for bit.
#define DOVETAIL_AMX_TWIN
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <limits>
#include <vector>

#include "cpu/amx_tile_product.h"
#include "dovetail/cpu.h"
#include "support/random.h"

namespace dovetail::cpu {
namespace {

using test_support::Random;

std::uint16_t bf16_of(float x) {
  std::uint32_t bits;
  std::memcpy(&bits, &x, 4);
  return static_cast<std::uint16_t>(bits >> 16);
}

TEST(TileTwin, MultipliesSignedBytes) {
  Random random(1);
  for (const auto& [m, k, n] : {std::tuple(16, 64, 16), {16, 32, 16}, {5, 64, 16}, {1, 8, 3}}) {
    std::vector<std::int8_t> a(16 * 64), b(16 * 64);
    std::vector<std::int32_t> c(16 * 16);
    for (auto& x : a) x = static_cast<std::int8_t>(random.integer(-128, 127));
    for (auto& x : b) x = static_cast<std::int8_t>(random.integer(-128, 127));
    for (auto& x : c) x = static_cast<std::int32_t>(random.integer(-1000, 1000));
    std::vector<std::int32_t> expected = c;
    for (int i = 0; i < m; ++i) {
      for (int j = 0; j < n; ++j) {
        for (int q = 0; q < k; ++q) {  // B: [k/4][n][4], rows 64 bytes apart
          expected[static_cast<std::size_t>(i * 16 + j)] +=
              a[static_cast<std::size_t>(i * 64 + q)] *
              b[static_cast<std::size_t>(q / 4 * 64 + j * 4 + q % 4)];
        }
      }
    }
    multiply({m, k, n, true, a.data(), b.data(), reinterpret_cast<std::uint32_t*>(c.data())});
    EXPECT_EQ(c, expected) << m << " " << k << " " << n;  // what is outside the tile stays too
  }
}

TEST(TileTwin, SumsOfBytesWrap) {
  std::vector<std::int8_t> a(64, -128), b(64, -128);
  std::int32_t c = std::numeric_limits<std::int32_t>::max();
  tile_configure(product_shapes(1, 4, 1));
  tile_load<0>(&c, 4);
  tile_load<1>(a.data(), 4);
  tile_load<2>(b.data(), 4);
  tile_dot_int8<0, 1, 2>();
  tile_store<0>(&c, 4);
  EXPECT_EQ(c, std::numeric_limits<std::int32_t>::min() + 65535);
  tile_release();
}

// One element of C, with K / 2 pairs.
float bf16_dot(const std::vector<float>& a, const std::vector<float>& b, float c) {
  std::vector<std::uint16_t> left(32), right(32);
  for (std::size_t i = 0; i < a.size(); ++i) {
    left[i] = bf16_of(a[i]);
    right[i / 2 * 2 + i % 2] = bf16_of(b[i]);
  }
  tile_configure(product_shapes(1, static_cast<int>(a.size()) * 2, 1));
  tile_load<0>(&c, 4);
  tile_load<1>(left.data(), 64);
  tile_load<2>(right.data(), 4);
  tile_dot_bf16<0, 1, 2>();
  tile_store<0>(&c, 4);
  return c;
}

TEST(TileTwin, AddsEvenAndOddProductsInTwoChains) {
  // In one chain, in any order, 2^24 + 1 + 1 - 2^24 would lose a 1 or both.
  EXPECT_EQ(bf16_dot({0x1p24f, 1, -0x1p24f, 1}, {1, 1, 1, 1}, 0.0f), 2.0f);
  EXPECT_EQ(bf16_dot({0x1p24f, 1, 1, -0x1p24f}, {1, 1, 1, 1}, 0.0f), 1.0f);  // 2^24 - (2^24 - 1)
  // C comes last: the chains' sum of 2 survives, each 1 alone would be rounded away.
  EXPECT_EQ(bf16_dot({1, 1}, {1, 1}, 0x1p24f), 0x1p24f + 2.0f);
  EXPECT_EQ(bf16_dot({1, 0}, {1, 0}, 0x1p24f), 0x1p24f);  // a tie, to even
}

TEST(TileTwin, FusesProductAndSum) {
  // (1 + 2^-7)^2 = 1 + 2^-6 + 2^-14: exact, and the sum with 2^-23 - 1 is rounded once.
  const float x = 1.0f + 0x1p-7f;
  EXPECT_EQ(bf16_dot({-1, 0, x, 0}, {1, 0, x, 0}, 0.0f), 0x1p-6f + 0x1p-14f);
}

TEST(TileTwin, TakesSubnormalsForZero) {
  EXPECT_EQ(bf16_dot({0x1p-127f, 0}, {0x1p100f, 0}, 0.0f), 0.0f);
  EXPECT_EQ(bf16_dot({0x1p-64f, 0}, {0x1p-64f, 0}, 0.0f), 0.0f);  // product 2^-128
  EXPECT_EQ(bf16_dot({0, 0}, {0, 0}, 0x1p-130f), 0.0f);           // C itself
  EXPECT_EQ(bf16_dot({0x1p-63f, 0}, {0x1p-63f, 0}, 0.0f), 0x1p-126f);
}

TEST(TileTwin, KeepsInfinityAndNaN) {
  const float infinity = std::numeric_limits<float>::infinity();
  EXPECT_EQ(bf16_dot({infinity, 0}, {2, 0}, 1.0f), infinity);
  EXPECT_TRUE(std::isnan(bf16_dot({infinity, 0}, {0, 0}, 1.0f)));
  EXPECT_TRUE(std::isnan(bf16_dot({1, 0}, {1, 0}, std::nanf(""))));
}

TEST(TileTwin, LoadsAndStoresWithAStride) {
  std::vector<std::uint8_t> from(7 * 100), to(7 * 90, 0xee);
  for (std::size_t i = 0; i < from.size(); ++i) {
    from[i] = static_cast<std::uint8_t>(i * 7);
  }
  TileConfig config;
  config.rows[3] = 7;
  config.row_bytes[3] = 20;
  tile_configure(config);
  tile_load<3>(from.data(), 100);
  tile_store<3>(to.data(), 90);
  for (std::size_t row = 0; row < 7; ++row) {
    for (std::size_t i = 0; i < 90; ++i) {
      EXPECT_EQ(to[row * 90 + i], i < 20 ? from[row * 100 + i] : 0xee);
    }
  }
  tile_zero<3>();
  tile_store<3>(to.data(), 90);
  EXPECT_EQ(to[90 * 6 + 19], 0);
}

using TileTwinDeath = testing::Test;

TEST(TileTwinDeath, EndsWhereTheProcessorFaults) {
  tile_release();
  EXPECT_DEATH(tile_zero<0>(), "no configuration is loaded");
  TileConfig config = product_shapes(4, 64, 16);
  EXPECT_DEATH((tile_configure(config), tile_zero<5>()), "the tile is not configured");
  config.rows[2] = 8;
  EXPECT_DEATH((tile_configure(config), tile_dot_int8<0, 1, 2>()), "4 bytes for every row of B");
  config = product_shapes(4, 64, 16);
  config.rows[1] = 5;
  EXPECT_DEATH((tile_configure(config), tile_dot_int8<0, 1, 2>()), "rows of C and A differ");
  config.row_bytes[1] = 65;
  EXPECT_DEATH(tile_configure(config), "larger than 1 KB");
  config.row_bytes[1] = 0;
  EXPECT_DEATH(tile_configure(config), "rows or bytes, not both");
  config = product_shapes(4, 64, 16);
  config.reserved[3] = 1;
  EXPECT_DEATH(tile_configure(config), "reserved bytes");
}

TEST(TileTwin, EqualsTheProcessorBitForBit) {
  setenv("DOVETAIL_CPU", "amx", 1);
  const bool has_tiles = cpu_device(1).ok();
  unsetenv("DOVETAIL_CPU");
  if (!has_tiles) {
    std::cout << "skipped: this machine has no tiles\n";
    return;
  }
  Random random(2);
  for (int round = 0; round < 2000; ++round) {
    const bool int8 = round % 2 == 0;
    // Bit patterns of any kind; or, for bf16, values of like size, whose sums round.
    const bool any = int8 || round % 4 == 1;
    std::vector<std::uint32_t> a(16 * 16), b(16 * 16), c(16 * 16);
    for (std::vector<std::uint32_t>* words : {&a, &b, &c}) {
      for (std::uint32_t& word : *words) {
        word = static_cast<std::uint32_t>(random.bits());
        if (!any) {
          const float low = random.bell(), high = random.bell();
          word = words == &c ? std::bit_cast<std::uint32_t>(low)
                             : static_cast<std::uint32_t>(bf16_of(high)) << 16 | bf16_of(low);
        }
      }
    }
    std::vector<std::uint32_t> model = c;
    const int m = static_cast<int>(random.integer(1, 16));
    const int k = static_cast<int>(random.integer(1, 16)) * 4;
    const int n = static_cast<int>(random.integer(1, 16));
    multiply({m, k, n, int8, a.data(), b.data(), model.data()});
    multiply_on_tiles({m, k, n, int8, a.data(), b.data(), c.data()});
    for (std::size_t i = 0; i < c.size(); ++i) {
      const bool nan = !int8 && std::isnan(std::bit_cast<float>(model[i])) &&
                       std::isnan(std::bit_cast<float>(c[i]));
      ASSERT_TRUE(nan || model[i] == c[i])
          << "round " << round << ", element " << i << ": model " << std::hex << model[i]
          << ", processor " << c[i] << std::dec << " = " << std::bit_cast<float>(model[i]) << ", "
          << std::bit_cast<float>(c[i]);
    }
  }
}

}  // namespace
}  // namespace dovetail::cpu
