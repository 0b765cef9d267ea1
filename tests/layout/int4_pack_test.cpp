// SPDX-License-Identifier: Apache-2.0
// The weight maps, pinned by an independent statement: edgellm_v1 by the order in which its bit
// tricks yield pairs of halves, cpu_v1 by what a 32-bit lane of one 64-byte line holds. Then the
// packers: every weight lands at its place, padding is neutral, and unpack inverts pack.
#include "dovetail/int4_pack.h"

#include <gtest/gtest.h>

#include <cstring>
#include <random>
#include <vector>

#include "layout/int4_layout.h"
#include "layout/narrow_float.h"

namespace dovetail {
namespace {

// edgellm_v1: word 0 of row 0 holds k = 0 8 16 24 | 1 9 17 25, word 1 starts at k = 2, row 1 at
// byte 32.
static_assert(edgellm_v1_address(0, 0, 128) == NibbleAddress{0, 0});
static_assert(edgellm_v1_address(0, 8, 128) == NibbleAddress{0, 4});
static_assert(edgellm_v1_address(0, 24, 128) == NibbleAddress{1, 4});
static_assert(edgellm_v1_address(0, 1, 128) == NibbleAddress{2, 0});
static_assert(edgellm_v1_address(0, 2, 128) == NibbleAddress{4, 0});
static_assert(edgellm_v1_address(0, 32, 128) == NibbleAddress{16, 0});
static_assert(edgellm_v1_address(1, 0, 128) == NibbleAddress{32, 0});
static_assert(edgellm_v1_address(0, 64, 128) == NibbleAddress{128, 0});
static_assert(edgellm_v1_address(4, 0, 128) == NibbleAddress{256, 0});
// cpu_v1: byte 4n + k%4; the high nibbles are 4 k further on.
static_assert(cpu_v1_address(0, 0, 64) == NibbleAddress{0, 0});
static_assert(cpu_v1_address(0, 3, 64) == NibbleAddress{3, 0});
static_assert(cpu_v1_address(0, 4, 64) == NibbleAddress{0, 4});
static_assert(cpu_v1_address(1, 0, 64) == NibbleAddress{4, 0});
static_assert(cpu_v1_address(0, 8, 64) == NibbleAddress{64, 0});
static_assert(cpu_v1_address(16, 0, 64) == NibbleAddress{512, 0});

struct Plain {
  std::vector<std::uint8_t> codes;
  std::vector<float> scales;
  std::vector<std::uint8_t> zero_points;
};

struct Packed {
  std::vector<std::byte> weights, scales, zero_points;

  explicit Packed(const Int4Format& f, bool with_zero_points) {
    const auto count =
        static_cast<std::size_t>(int4_scales_shape(f.layout, f.n, f.k, f.group_size).count());
    weights.resize(static_cast<std::size_t>(int4_weights_shape(f.layout, f.n, f.k).count()),
                   std::byte{0xa5});
    scales.resize(count * size_of(f.scale_type), std::byte{0xa5});
    zero_points.resize(with_zero_points ? count : 0, std::byte{0xa5});
  }
  PackedInt4 buffers() { return {weights, scales, zero_points}; }
  PackedInt4View view() const { return {weights, scales, zero_points}; }
};

Plain random_plain(const Int4Format& f, bool with_zero_points) {
  std::mt19937 random(20261123);
  Plain p;
  p.codes.resize(static_cast<std::size_t>(f.n * f.k));
  p.scales.resize(static_cast<std::size_t>(f.n * f.k / f.group_size));
  p.zero_points.resize(with_zero_points ? p.scales.size() : 0);
  for (auto& code : p.codes) {
    code = static_cast<std::uint8_t>(random() & 15u);
  }
  for (auto& scale : p.scales) {  // 7 mantissa bits: exact in every scale type
    scale = static_cast<float>(static_cast<int>(random() % 255u) - 127) * 0x1p-9f;
  }
  for (auto& zero_point : p.zero_points) {
    zero_point = static_cast<std::uint8_t>(random() & 15u);
  }
  return p;
}

// The guide's swizzle stated from the reader's side: nibble i of word b of a 16-byte half-tile.
void expect_edgellm_v1(const Int4Format& f, const Plain& plain, const Packed& packed) {
  const std::int64_t tiles = (f.k + 63) / 64;
  const auto* bytes = reinterpret_cast<const unsigned char*>(packed.weights.data());
  std::size_t word_index = 0;
  for (std::int64_t quad = 0; quad < (f.n + 3) / 4; ++quad) {
    for (std::int64_t tile = 0; tile < tiles; ++tile) {
      for (std::int64_t row = 0; row < 4; ++row) {
        for (std::int64_t word = 0; word < 8; ++word, ++word_index) {
          for (std::int64_t nibble = 0; nibble < 8; ++nibble) {
            const std::int64_t n = quad * 4 + row;
            const std::int64_t k =
                tile * 64 + (word / 4) * 32 + (nibble % 4) * 8 + (word % 4) * 2 + nibble / 4;
            const unsigned got =
                bytes[word_index * 4 + static_cast<std::size_t>(nibble / 2)] >> (nibble % 2 * 4) &
                15u;
            const unsigned expected =
                n < f.n && k < f.k ? plain.codes[static_cast<std::size_t>(n * f.k + k)] : 8u;
            ASSERT_EQ(got, expected) << "n " << n << " k " << k;
          }
        }
      }
    }
  }
  ASSERT_EQ(word_index * 4, packed.weights.size());
}

void expect_cpu_v1(const Int4Format& f, const Plain& plain, const Packed& packed) {
  const auto* at = reinterpret_cast<const unsigned char*>(packed.weights.data());
  for (std::int64_t panel = 0; panel < (f.n + 15) / 16; ++panel) {
    for (std::int64_t line = 0; line < f.k / 8; ++line) {
      for (std::int64_t n = panel * 16; n < panel * 16 + 16; ++n) {
        for (std::int64_t k = line * 8; k < line * 8 + 4; ++k, ++at) {
          const auto code = [&](std::int64_t column) {
            return n < f.n ? plain.codes[static_cast<std::size_t>(n * f.k + column)] : 8u;
          };
          ASSERT_EQ(*at, code(k) | code(k + 4) << 4) << "n " << n << " k " << k;
        }
      }
    }
  }
  ASSERT_EQ(at,
            reinterpret_cast<const unsigned char*>(packed.weights.data()) + packed.weights.size());
}

// A warp's view: lane (g, t) loads 16 bytes of a block and unpacks, from word j, the fragment
// registers of m16n8k16: b[0] holds k = 2t, 2t+1 and b[1] k = 2t+8, 2t+9 of column g, for two steps
// of 16 k.
void expect_cuda_v1(const Int4Format& f, const Plain& plain, const Packed& packed) {
  const std::int64_t blocks_k = (f.k + 63) / 64;
  const auto* words = reinterpret_cast<const std::uint32_t*>(packed.weights.data());
  for (std::int64_t block = 0; block < (f.n + 63) / 64 * 4 * blocks_k; ++block) {
    for (std::int64_t lane = 0; lane < 32; ++lane) {
      for (std::int64_t j = 0; j < 4; ++j, ++words) {
        for (std::int64_t i = 0; i < 4; ++i) {
          const std::uint32_t pair = *words >> (4 * i) & 0x000f000fu;
          for (std::int64_t odd = 0; odd < 2; ++odd) {
            const std::int64_t n = block / blocks_k * 16 + j / 2 * 8 + lane / 4;
            const std::int64_t k =
                block % blocks_k * 64 + j % 2 * 32 + i / 2 * 16 + i % 2 * 8 + lane % 4 * 2 + odd;
            const unsigned expected =
                n < f.n && k < f.k ? plain.codes[static_cast<std::size_t>(n * f.k + k)] : 8u;
            ASSERT_EQ(pair >> (16 * odd) & 15u, expected) << "n " << n << " k " << k;
          }
        }
      }
    }
  }
  ASSERT_EQ(reinterpret_cast<const std::byte*>(words),
            packed.weights.data() + packed.weights.size());
}

float scale_at(const Int4Format& f, const Packed& packed, std::size_t i) {
  if (f.scale_type == DataType::kFloat32) {
    float value = 0;
    std::memcpy(&value, &packed.scales[i * 4], 4);
    return value;
  }
  std::uint16_t bits = 0;
  std::memcpy(&bits, &packed.scales[i * 2], 2);
  return f.scale_type == DataType::kFloat16 ? half_to_float(bits) : bfloat16_to_float(bits);
}

struct PackCase {
  Int4Format format;
  bool zero_points;
};

void PrintTo(const PackCase& c, std::ostream* out) {
  *out << name_of(c.format.layout) << " n " << c.format.n << " k " << c.format.k << " g "
       << c.format.group_size << " " << c.format.scale_type << (c.zero_points ? " zp" : "");
}

class PackTest : public testing::TestWithParam<PackCase> {};

TEST_P(PackTest, PlacesEveryWeightAndScale) {
  const auto& [f, with_zero_points] = GetParam();
  const Plain plain = random_plain(f, with_zero_points);
  Packed packed(f, with_zero_points);
  const Status status =
      pack_int4(f, {plain.codes, plain.scales, plain.zero_points}, packed.buffers());
  ASSERT_TRUE(status.ok()) << status.message();
  const std::int64_t groups = f.k / f.group_size;
  if (f.layout != WeightLayout::kCpuV1) {
    if (f.layout == WeightLayout::kEdgeLlmV1) {
      expect_edgellm_v1(f, plain, packed);
    } else {
      expect_cuda_v1(f, plain, packed);
    }
    for (std::int64_t i = 0; i < groups * f.n; ++i) {  // row-major [K/G, N]
      const auto from = static_cast<std::size_t>(i % f.n * groups + i / f.n);
      ASSERT_EQ(scale_at(f, packed, static_cast<std::size_t>(i)), plain.scales[from]) << i;
    }
    return;
  }
  expect_cpu_v1(f, plain, packed);
  std::size_t i = 0;
  for (std::int64_t panel = 0; panel < (f.n + 15) / 16; ++panel) {
    for (std::int64_t g = 0; g < groups; ++g) {
      for (std::int64_t n = panel * 16; n < panel * 16 + 16; ++n, ++i) {
        const auto from = static_cast<std::size_t>(n * groups + g);
        ASSERT_EQ(scale_at(f, packed, i), n < f.n ? plain.scales[from] : 0.0f);
        if (with_zero_points) {
          ASSERT_EQ(static_cast<int>(packed.zero_points[i]), n < f.n ? plain.zero_points[from] : 8);
        }
      }
    }
  }
}

TEST_P(PackTest, UnpackInvertsPack) {
  const auto& [f, with_zero_points] = GetParam();
  const Plain plain = random_plain(f, with_zero_points);
  Packed packed(f, with_zero_points);
  ASSERT_TRUE(pack_int4(f, {plain.codes, plain.scales, plain.zero_points}, packed.buffers()).ok());
  Plain back = random_plain(f, with_zero_points);
  std::fill(back.codes.begin(), back.codes.end(), std::uint8_t{99});
  std::fill(back.scales.begin(), back.scales.end(), -1e9f);
  std::fill(back.zero_points.begin(), back.zero_points.end(), std::uint8_t{99});
  const Status status = unpack_int4(f, packed.view(), {back.codes, back.scales, back.zero_points});
  ASSERT_TRUE(status.ok()) << status.message();
  EXPECT_EQ(back.codes, plain.codes);
  EXPECT_EQ(back.scales, plain.scales);
  EXPECT_EQ(back.zero_points, plain.zero_points);
}

constexpr auto kEdge = WeightLayout::kEdgeLlmV1;
constexpr auto kCpu = WeightLayout::kCpuV1;
constexpr auto kCuda = WeightLayout::kCudaV1;
INSTANTIATE_TEST_SUITE_P(
    Layouts, PackTest,
    testing::Values(PackCase{{128, 128, 128, kEdge, DataType::kFloat16}, false},
                    PackCase{{1, 32, 32, kEdge, DataType::kFloat32}, true},
                    PackCase{{17, 96, 32, kEdge, DataType::kBFloat16}, true},
                    PackCase{{6, 896, 128, kEdge, DataType::kFloat16}, false},
                    PackCase{{128, 128, 128, kCuda, DataType::kFloat16}, false},
                    PackCase{{1, 32, 32, kCuda, DataType::kFloat32}, true},
                    PackCase{{100, 96, 32, kCuda, DataType::kBFloat16}, true},
                    PackCase{{128, 128, 128, kCpu, DataType::kFloat16}, false},
                    PackCase{{1, 32, 32, kCpu, DataType::kFloat32}, true},
                    PackCase{{17, 96, 32, kCpu, DataType::kBFloat16}, true},
                    PackCase{{100, 192, 64, kCpu, DataType::kFloat32}, false}));

TEST(PackErrors, NameTheTensorAndTheValue) {
  const Int4Format f{2, 32, 32, kCpu, DataType::kFloat16};
  const auto message = [](Int4Format format, auto change) {
    Plain plain = random_plain({2, 32, 32, kCpu, DataType::kFloat16}, true);
    change(plain);
    Packed packed({2, 32, 32, kCpu, DataType::kFloat16}, true);
    return pack_int4(format, {plain.codes, plain.scales, plain.zero_points}, packed.buffers())
        .message();
  };
  EXPECT_EQ(message(f, [](Plain&) {}), "");
  EXPECT_EQ(message(f, [](Plain& p) { p.codes[33] = 16; }),
            "int4_pack: codes[1, 1] is 16, expected 0 to 15");
  EXPECT_EQ(message(f, [](Plain& p) { p.zero_points[1] = 17; }),
            "int4_pack: zero_points[1, 0] is 17, expected 0 to 15");
  EXPECT_EQ(message(f, [](Plain& p) { p.scales[0] = 70000.0f; }),
            "int4_pack: scales[0, 0] is 70000, expected a finite fp16 value");
  EXPECT_EQ(message(f, [](Plain& p) { p.codes.pop_back(); }),
            "int4_pack: codes has 63 elements, expected 64");
  EXPECT_EQ(message(f, [](Plain& p) { p.zero_points.clear(); }),
            "int4_pack: plain zero points has 0 elements, expected 2");
  Int4Format bad_k = f;
  bad_k.k = 48;
  EXPECT_NE(message(bad_k, [](Plain&) {}), "");
  Int4Format bad_group = f;
  bad_group.group_size = 16;
  EXPECT_EQ(message(bad_group, [](Plain&) {}),
            "int4_pack: group_size is 16, expected 32, 64 or 128");
}

}  // namespace
}  // namespace dovetail
