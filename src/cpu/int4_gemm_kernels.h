// SPDX-License-Identifier: Apache-2.0
// What a tier provides for the int4 GEMM: a table of functions on tiles. int4_gemm.cpp cuts a call
// into tiles; a tier knows neither threads nor layouts other than cpu_v1's panel of 16 columns.
//
//   activations [M, K] --pack--> row tiles (R rows each, R = the tier's tile height)
//     exact: fp32 [K][rows]      int8: [K/4][rows][4], scale and start value per group and row
//     (amx: as its A tiles, amx/int4_operands.h)
//   row tile x panel of 16 columns, some groups of K --multiply--> fp32 sums [rows, 16]
//   sums + bias --store--> output [M, N]
//
// Rows stand side by side per k, so a kernel reads its activations as one stream of broadcasts;
// row-major activations with K = 4096 would put every row of a tile into the same L1 set. Plain C
// types only: tier objects share no inline code.
#pragma once

#include <cstdint>

namespace dovetail::cpu {

inline constexpr int kPanelColumns = 16;
inline constexpr int kLineBytes = 64;  // 8 k of 16 columns
inline constexpr int kMaxTileRows = 64;

enum class FloatFormat : std::uint8_t { kFloat32, kFloat16, kBFloat16 };

struct Int4PackTask {
  const void* activations;  // [rows, k] with row stride `stride` elements, in `format`
  std::int64_t stride;
  std::int64_t k;  // a multiple of the group size
  int rows;        // 1 to the tile height
  int group_size;
  FloatFormat format;
  void* packed;       // exact: float [k][rows]; int8: [k/4][rows][4]; amx: A tiles
  float* row_scales;  // int8 only, [k / group_size][rows]
  // int8 only, [k / group_size][rows]: -8 * (sum of the int8 values), where the 32-bit sums of
  // codes * values start when the zero point is 8: loading it is cheaper than subtracting.
  std::int32_t* row_starts;
};

struct Int4MultiplyTask {
  const std::uint8_t* weights;     // lines of the panel, group_size / 8 a group
  const void* scales;              // [groups, 16] in `scale_format`
  const std::int8_t* zero_points;  // [groups, 16], or null: 8
  const void* activations;         // as packed
  const float* row_scales;         // int8 only
  const std::int32_t* row_starts;  // int8 only
  float* sums;                     // [rows, 16], added to
  int rows;
  int groups;
  int group_size;
  FloatFormat scale_format;
  FloatFormat activation_format;  // of the call, before packing
};

struct Int4StoreTask {
  const float* sums;  // [rows, 16]
  const void* bias;   // of the panel's first column, in `format`, or null
  void* output;       // of the tile's first row and the panel's first column, in `format`
  std::int64_t stride;
  int rows;
  int columns;  // 1 to 16
  FloatFormat format;
};

// edgellm_v1 rows of one panel to cpu_v1 lines, k from a multiple of 64.
struct Int4UnswizzleTask {
  const std::uint8_t* weights;  // tile of the first row quad and k
  std::int64_t quad_bytes;      // from one quad to the next
  std::int64_t k;               // multiple of 32
  int quads;                    // 1 to 4; the lines' other columns become 8
  std::uint8_t* lines;          // [k/8, 64]
};

struct Int4GemmKernels {
  const char* tier;
  int exact_rows;  // tile heights, at most kMaxTileRows
  int int8_rows;
  std::uint8_t exact_bytes[3];  // of a packed activation in exact mode, by FloatFormat
  bool auto_is_int8;            // which mode kAuto takes: the faster by measurement
  void (*pack_exact)(const Int4PackTask&);
  void (*pack_int8)(const Int4PackTask&);
  void (*multiply_exact)(const Int4MultiplyTask&);
  void (*multiply_int8)(const Int4MultiplyTask&);
  void (*store)(const Int4StoreTask&);
  void (*unswizzle)(const Int4UnswizzleTask&);
};

extern const Int4GemmKernels kInt4GemmGeneric;
#if defined(__x86_64__)
extern const Int4GemmKernels kInt4GemmAvx2;
extern const Int4GemmKernels kInt4GemmAvx512;
extern const Int4GemmKernels kInt4GemmAmx;
#endif

}  // namespace dovetail::cpu
