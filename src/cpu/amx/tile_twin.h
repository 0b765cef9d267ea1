// SPDX-License-Identifier: Apache-2.0
// The tile instructions in plain C, for CPUs without them and for tests: included by tile.h with
// DOVETAIL_AMX_TWIN, never in a build that ships. After the operation sections of the Intel SDM,
// volume 2 (LDTILECFG, TILELOADD, TILESTORED, TDPBSSD, TDPBF16PS); what the processor answers with
// an exception ends the program here, with the reason.
//
// TDPBF16PS adds the even and the odd products of a row in two fp32 chains (fused, to nearest even,
// subnormals as zero on both sides), then their sum to C.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace dovetail::cpu {
namespace {

struct TileTwin {
  TileConfig config;
  bool configured = false;
  std::uint8_t data[8][16][64];
};
inline thread_local TileTwin tile_twin;

[[noreturn]] inline void tile_fault(const char* reason) {
  std::fprintf(stderr, "tile twin: %s\n", reason);
  std::abort();
}
inline void tile_expect(bool condition, const char* reason) {
  if (!condition) {
    tile_fault(reason);
  }
}

inline void tile_configure(const TileConfig& config) {
  tile_expect(config.palette == 1, "a palette other than 1 is not modelled");
  tile_expect(config.start_row == 0, "start_row is not 0");
  for (int i = 0; i < 14; ++i) {
    tile_expect(config.reserved[i] == 0, "reserved bytes of the configuration are not 0");
  }
  for (int i = 0; i < 16; ++i) {
    const bool used = config.rows[i] != 0;
    tile_expect(used == (config.row_bytes[i] != 0), "a tile has rows or bytes, not both");
    tile_expect(!used || i < 8, "palette 1 has 8 tiles");
    tile_expect(config.rows[i] <= 16 && config.row_bytes[i] <= 64, "a tile is larger than 1 KB");
  }
  tile_twin.config = config;
  tile_twin.configured = true;
  std::memset(tile_twin.data, 0, sizeof(tile_twin.data));
}

inline void tile_release() {
  tile_twin.configured = false;
}

inline int tile_rows(int tile) {
  tile_expect(tile_twin.configured, "no configuration is loaded");
  tile_expect(tile_twin.config.rows[tile] != 0, "the tile is not configured");
  return tile_twin.config.rows[tile];
}
inline std::size_t tile_row_bytes(int tile) {
  return tile_twin.config.row_bytes[tile];
}

template <int T>
void tile_zero() {
  tile_rows(T);
  std::memset(tile_twin.data[T], 0, sizeof(tile_twin.data[T]));
}

template <int T>
void tile_load(const void* base, std::int64_t stride) {
  const int rows = tile_rows(T);
  std::memset(tile_twin.data[T], 0, sizeof(tile_twin.data[T]));
  for (int r = 0; r < rows; ++r) {
    std::memcpy(tile_twin.data[T][r], static_cast<const char*>(base) + r * stride,
                tile_row_bytes(T));
  }
}

template <int T>
void tile_store(void* base, std::int64_t stride) {
  const int rows = tile_rows(T);
  for (int r = 0; r < rows; ++r) {
    std::memcpy(static_cast<char*>(base) + r * stride, tile_twin.data[T][r], tile_row_bytes(T));
  }
}

// Shapes of C += A * B; returns how many steps of four bytes a row of A has.
template <int C, int A, int B>
int tile_dot_steps() {
  static_assert(C != A && C != B && A != B, "the operands are three different tiles");
  tile_expect(tile_rows(C) == tile_rows(A), "rows of C and A differ");
  tile_expect(tile_row_bytes(C) == tile_row_bytes(B), "bytes of a row of C and B differ");
  tile_expect(tile_row_bytes(A) == static_cast<std::size_t>(tile_rows(B)) * 4,
              "a row of A has not 4 bytes for every row of B");
  tile_expect(tile_row_bytes(C) % 4 == 0, "a row of C is not of whole lanes");
  return tile_rows(B);
}

// Results for row m: rows beyond C's, and lanes beyond its bytes, become zero.
template <int C, class Lane>
void tile_set_rows(const Lane (&sums)[16][16]) {
  std::memset(tile_twin.data[C], 0, sizeof(tile_twin.data[C]));
  for (int m = 0; m < tile_rows(C); ++m) {
    std::memcpy(tile_twin.data[C][m], sums[m], tile_row_bytes(C));
  }
}

template <int C, int A, int B>
void tile_dot_int8() {
  const int steps = tile_dot_steps<C, A, B>();
  std::uint32_t sums[16][16];  // unsigned: the processor's sums wrap
  std::memcpy(sums, tile_twin.data[C], sizeof(sums));
  std::int32_t b[16][4][16];
  for (int k = 0; k < steps; ++k) {
    for (int i = 0; i < 64; ++i) {
      b[k][i % 4][i / 4] = static_cast<std::int8_t>(tile_twin.data[B][k][i]);
    }
  }
  for (int m = 0; m < tile_rows(C); ++m) {
    for (int k = 0; k < steps * 4; ++k) {
      const std::int32_t a = static_cast<std::int8_t>(tile_twin.data[A][m][k]);
      for (int n = 0; n < 16; ++n) {
        sums[m][n] += static_cast<std::uint32_t>(a * b[k / 4][k % 4][n]);
      }
    }
  }
  tile_set_rows<C>(sums);
}

inline float tile_flushed(float x) {
  return __builtin_fabsf(x) < 0x1p-126f ? __builtin_copysignf(0.0f, x) : x;
}
inline float tile_bf16(const std::uint8_t* bytes) {
  const std::uint32_t bits =
      static_cast<std::uint32_t>(bytes[1]) << 24 | static_cast<std::uint32_t>(bytes[0]) << 16;
  float value;
  std::memcpy(&value, &bits, sizeof(value));
  return tile_flushed(value);
}

template <int C, int A, int B>
void tile_dot_bf16() {
  const int steps = tile_dot_steps<C, A, B>();
  float sums[16][16];
  std::memcpy(sums, tile_twin.data[C], sizeof(sums));
  float b[16][2][16];
  for (int k = 0; k < steps; ++k) {
    for (int i = 0; i < 32; ++i) {
      b[k][i % 2][i / 2] = tile_bf16(&tile_twin.data[B][k][i * 2]);
    }
  }
  for (int m = 0; m < tile_rows(C); ++m) {
    float chains[2][16] = {};
    for (int k = 0; k < steps * 2; ++k) {
      const float a = tile_bf16(&tile_twin.data[A][m][k * 2]);
      float* chain = chains[k % 2];
      for (int n = 0; n < 16; ++n) {
        chain[n] = tile_flushed(__builtin_fmaf(a, b[k / 2][k % 2][n], chain[n]));
      }
    }
    for (int n = 0; n < 16; ++n) {
      const float both = tile_flushed(chains[0][n] + chains[1][n]);
      sums[m][n] = tile_flushed(tile_flushed(sums[m][n]) + both);
    }
  }
  tile_set_rows<C>(sums);
}

}  // namespace
}  // namespace dovetail::cpu
