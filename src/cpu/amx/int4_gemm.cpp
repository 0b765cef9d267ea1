// SPDX-License-Identifier: Apache-2.0
// The int4 GEMM with AMX tiles, for more rows than a core can stream through VNNI. A line of codes
// is two rows of a B tile: the codes minus zero points are unpacked once per stage of K into a
// buffer in L1, and up to 64 rows of activations (four C tiles) go over it.
//
//   stage (512 k of a panel of 16 columns):   lines --unpack--> B [k/4][16][4] or [k/2][16][2]
//   group:   C[i] = A[i] * B over the group's tiles;   C[i] --tile_store--> sums += C * scales
//
// int8: the sums of a group are the integers of every other tier, and are scaled as there: results
// equal avx512's bit for bit. exact: fp32 and fp16 activations are split into 3 and 2 bf16 values
// whose sum they are, codes minus zero points are bf16 as they stand, products and sums fp32.
#include "cpu/amx/int4_operands.h"
#include "cpu/amx/tile.h"
#include "cpu/avx2/int4_unswizzle.h"
#include "cpu/int4_gemm_kernels.h"

namespace dovetail::cpu {
namespace {

#define DOVETAIL_UNROLL _Pragma("GCC unroll 16")

constexpr int kRows = 64;  // of a tile in the sense of int4_gemm_plan.h
constexpr int kTileRows = 16;
constexpr std::int64_t kTileBytes = 1024;
constexpr int kStageK = 512;  // 8 KB as int8, 16 KB as bf16
// Tile registers: C 0 to 3; A 4 of 16 rows, 5 of the rows left over; B 6, 7.
constexpr int kLeftOver = 5;

TileConfig shapes(int rows, int a_bytes, int b_rows) {
  TileConfig config;
  const auto set = [&](int tile, int tile_rows, int row_bytes) {
    if (tile_rows > 0) {
      config.rows[tile] = static_cast<std::uint8_t>(tile_rows);
      config.row_bytes[tile] = static_cast<std::uint16_t>(row_bytes);
    }
  };
  for (int i = 0; i < 4 && i * kTileRows < rows; ++i) {
    const int left = rows - i * kTileRows;
    set(i, left < kTileRows ? left : kTileRows, 64);
  }
  set(4, rows < kTileRows ? 0 : kTileRows, a_bytes);
  set(kLeftOver, rows % kTileRows, a_bytes);
  set(6, b_rows, 64);
  set(7, b_rows, 64);
  return config;
}

// A group's products: C = sum over `steps` tiles of B, each with `Pieces` tiles of A per 16 rows,
// and the sums of 32 bits to `out` [rows][16].
template <bool Int8, int Full, bool Rest>
struct GroupProducts {
  const char* a;  // [steps][pieces][rows][a_bytes]
  const char* b;
  int rows, a_bytes, pieces;

  template <int C, int A, int B>
  static inline __attribute__((always_inline)) void dot() {
    if constexpr (Int8) {
      tile_dot_int8<C, A, B>();
    } else {
      tile_dot_bf16<C, A, B>();
    }
  }

  template <int I, int B>
  inline __attribute__((always_inline)) void rows_of(const char* from) const {
    if constexpr (I < Full) {
      tile_load<4>(from + I * kTileRows * a_bytes, a_bytes);
      dot<I, 4, B>();
      rows_of<I + 1, B>(from);
    } else if constexpr (I == Full && Rest) {
      tile_load<kLeftOver>(from + I * kTileRows * a_bytes, a_bytes);
      dot<I, kLeftOver, B>();
    }
  }

  template <int B>
  inline __attribute__((always_inline)) void step(int index, std::int64_t b_bytes) const {
    tile_load<B>(b + index * b_bytes, 64);
    for (int piece = 0; piece < pieces; ++piece) {
      rows_of<0, B>(a + static_cast<std::int64_t>(index * pieces + piece) * rows * a_bytes);
    }
  }

  template <int I>
  static inline __attribute__((always_inline)) void clear() {
    if constexpr (I < Full + Rest) {
      tile_zero<I>();
      clear<I + 1>();
    }
  }
  template <int I>
  static inline __attribute__((always_inline)) void store(char* out) {
    if constexpr (I < Full + Rest) {
      tile_store<I>(out + I * kTileBytes, 64);
      store<I + 1>(out);
    }
  }

  inline __attribute__((always_inline)) void run(int steps, std::int64_t b_bytes, char* out) const {
    clear<0>();
    int index = 0;
    for (; index + 1 < steps; index += 2) {
      step<6>(index, b_bytes);
      step<7>(index + 1, b_bytes);
    }
    if (index < steps) {
      step<6>(index, b_bytes);
    }
    store<0>(out);
  }
};

template <bool Int8>
inline __attribute__((always_inline)) void add_group(const Int4MultiplyTask& t, int group,
                                                     const std::int32_t* products) {
  const __m512 scales = load16(t.scales, t.scale_format, group * kPanelColumns);
  for (int r = 0; r < t.rows; ++r) {
    float* sum = t.sums + r * kPanelColumns;
    const std::int32_t* row = products + r * kPanelColumns;
    const __m512 scale =
        Int8 ? _mm512_mul_ps(scales, _mm512_set1_ps(t.row_scales[group * t.rows + r])) : scales;
    const __m512 value = Int8 ? _mm512_cvtepi32_ps(_mm512_load_si512(row)) : _mm512_load_ps(row);
    _mm512_storeu_ps(sum, _mm512_fmadd_ps(value, scale, _mm512_loadu_ps(sum)));
  }
}

template <bool Int8, int Full, bool Rest>
void multiply(const Int4MultiplyTask& t) {
  constexpr int kCodeBytes = Int8 ? 1 : 2;
  alignas(64) char b[kStageK * kPanelColumns * kCodeBytes];
  alignas(64) std::int32_t products[2][(Full + Rest) * kTileBytes / 4];
  const int a_bytes = Int8 && t.group_size < 64 ? t.group_size : 64;
  const int step_k = a_bytes / kCodeBytes;
  const int steps = t.group_size / step_k;
  const std::int64_t b_bytes = static_cast<std::int64_t>(step_k) * kPanelColumns * kCodeBytes;
  const int pieces = Int8 ? 1 : pieces_of(t.activation_format);
  tile_configure(shapes(t.rows, a_bytes, a_bytes / 4));
  const int groups_per_stage = kStageK / t.group_size;
  for (int first = 0; first < t.groups; first += groups_per_stage) {
    const int last = first + groups_per_stage < t.groups ? first + groups_per_stage : t.groups;
    for (int g = first; g < last; ++g) {
      const int at = (g - first) * t.group_size * kPanelColumns * kCodeBytes;
      unpack_group<Int8>(t, g, b + at);
    }
    for (int g = first; g < last; ++g) {
      const std::int64_t k = static_cast<std::int64_t>(g) * t.group_size;
      const GroupProducts<Int8, Full, Rest> group{
          static_cast<const char*>(t.activations) + k * t.rows * pieces * kCodeBytes,
          b + (g - first) * t.group_size * kPanelColumns * kCodeBytes, t.rows, a_bytes, pieces};
      group.run(steps, b_bytes, reinterpret_cast<char*>(products[g % 2]));
      if (g > first) {  // a group behind, so that its tiles have left the tile unit
        add_group<Int8>(t, g - 1, products[(g - 1) % 2]);
      }
    }
    add_group<Int8>(t, last - 1, products[(last - 1) % 2]);
  }
  tile_release();
}

using Multiply = void (*)(const Int4MultiplyTask&);
// [whole tiles of 16 rows][rows left over]
template <bool Int8>
constexpr Multiply kMultiply[5][2] = {
    {nullptr, multiply<Int8, 0, true>},
    {multiply<Int8, 1, false>, multiply<Int8, 1, true>},
    {multiply<Int8, 2, false>, multiply<Int8, 2, true>},
    {multiply<Int8, 3, false>, multiply<Int8, 3, true>},
    {multiply<Int8, 4, false>, nullptr},
};

template <bool Int8>
void multiply_rows(const Int4MultiplyTask& t) {
  kMultiply<Int8>[t.rows / kTileRows][t.rows % kTileRows != 0](t);
}

}  // namespace

const Int4GemmKernels kInt4GemmAmx = {
    .tier = "amx",
    .exact_rows = kRows,
    .int8_rows = kRows,
    .exact_bytes = {6, 4, 2},
    .auto_is_int8 = true,
    .pack_exact = pack_pieces,
    .pack_int8 = pack_int8_with<put_in_tile>,
    .multiply_exact = multiply_rows<false>,
    .multiply_int8 = multiply_rows<true>,
    .store = store,
    .unswizzle = unswizzle,
};

}  // namespace dovetail::cpu
