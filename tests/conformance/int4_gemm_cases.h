// SPDX-License-Identifier: Apache-2.0
// The int4 GEMM cases that every backend has to pass, each with its reason. Curated, not cartesian:
// sizes sit at the edges of panels (16), quads (4), warps (64, 128) and row tiles, types and groups
// rotate. Sources: the shapes that TensorRT Edge-LLM 0.5 tests, the gaps in its tests (GEMV, real N
// and K), and the hidden sizes of real models (896 = 7 * 128, 4864 = 38 * 128, 13824 = 108 * 128).
#pragma once

#include <cstdint>
#include <iterator>
#include <ostream>

#include "dovetail/int4_gemm.h"

namespace dovetail::conformance {

enum class Int4GemmData {
  kBell,      // activations about normal, scales around 0.01, any code
  kPositive,  // as the guide's tests, no cancellation: activations and scales in [0.2, 0.5],
              // weights -5..5
  kIntegers,  // integer activations with absmax 127 in every group, scales 2^-2..1: exact in
              // every mode
  kOneHot,    // one activation of 127 a row: shows each weight at its place, exact in every mode
};

struct Int4GemmCase {
  const char* reason;
  std::int64_t m;
  std::int32_t n, k, group_size;
  DataType activation_type;
  DataType scale_type;
  bool zero_points;
  bool bias;
  Int4GemmData data;
  bool swiglu = false;
};

inline constexpr DataType kF32 = DataType::kFloat32;
inline constexpr DataType kF16 = DataType::kFloat16;
inline constexpr DataType kB16 = DataType::kBFloat16;

using enum Int4GemmData;

// clang-format off
inline constexpr Int4GemmCase kInt4GemmCases[] = {
    // reason                             M     N      K    G  act   scale zp     bias   data
    {"guide gemm",                      128,  128,   128, 128, kF16, kF16, false, false, kPositive},
    {"guide gemm",                       64,  512,  1024, 128, kF16, kF16, false, false, kPositive},
    {"guide gemm, N not a power of 2",   64,  640,  1024, 128, kF16, kF16, false, false, kPositive},
    {"guide gemv",                        1,  384,   896, 128, kF16, kF16, false, false, kPositive},
    {"guide gemv",                        1,  512,   896, 128, kF16, kF16, false, false, kPositive},
    {"guide gemv",                        1,  640,   896, 128, kF16, kF16, false, false, kPositive},
    {"gemv of a 0.5B ffn",                1, 4864,   896, 128, kF16, kF16, false, false, kBell},
    {"gemv, K of a 13B ffn",              1,  128, 13824, 128, kF32, kF16, false, false, kBell},
    {"gemv, N just behind a panel",       1, 3456,   256, 128, kB16, kB16, false, true,  kBell},
    {"gemv, 2 rows",                      2,  896,  4864, 128, kF16, kF16, false, false, kBell},
    {"gemv, 3 rows",                      3,  256,  2048, 128, kF32, kF32, false, false, kBell},
    {"gemv, 4 rows",                      4,  256,   512,  64, kB16, kF16, true,  false, kBell},
    {"gemv, 5 rows",                      5,  128,   640, 128, kF16, kF16, false, true,  kBell},
    {"the guide's last gemv M",           6,  256,   896, 128, kF16, kF16, false, false, kBell},
    {"the guide's first gemm M",          7,  256,   896, 128, kF16, kF16, false, false, kBell},
    {"one output",                        1,    1,    32,  32, kF32, kF32, false, false, kBell},
    {"one output, 64 rows",              64,    1,   128, 128, kF16, kF16, true,  true,  kBell},
    {"a column behind a panel",           1,   17,    64,  64, kF32, kF16, true,  false, kBell},
    {"a column behind a panel, 17 rows", 17,   17,    96,  32, kF16, kB16, true,  true,  kBell},
    {"one column short of a panel",       3,   15,   160,  32, kB16, kF32, false, true,  kBell},
    {"odd N, half a swizzle tile of K",   5,  100,    96,  32, kF32, kF16, true,  true,  kBell},
    {"one group of 32",                   2,   16,    32,  32, kF16, kF16, false, false, kBell},
    {"one group of 64",                   2,   16,    64,  64, kF16, kF16, true,  false, kBell},
    {"one group of 128",                  2,   16,   128, 128, kB16, kF16, true,  false, kBell},
    {"group 32, many groups",             8,   64,  2048,  32, kF32, kF16, false, false, kBell},
    {"group 64, zero points",            15,   80,   832,  64, kF16, kF16, true,  false, kBell},
    {"group 128, zero points, bias",     16,  208,  1152, 128, kB16, kB16, true,  true,  kBell},
    {"tree of 16",                       16,  512,  2048, 128, kF32, kF16, false, false, kBell},
    {"one row behind a tile of 16",      17,   96,   896, 128, kF32, kF32, true,  true,  kBell},
    {"tile of 32 and 1",                 33,   48,   320,  64, kF16, kF32, false, true,  kBell},
    {"ragged M and N",                  100,  100,   384, 128, kF32, kF16, true,  true,  kBell},
    {"prefill of 64",                    64,  304,  4864, 128, kF32, kF16, false, false, kBell},
    {"several row blocks",              300,   48,   256, 128, kF32, kF16, false, false, kBell},
    {"no cancellation, zero points",      8,   64,  1024,  32, kF32, kF32, true,  false, kPositive},
    {"no rows",                           0,   32,    64,  32, kF16, kF16, false, true,  kBell},
    {"exact, gemv",                       1,  100,  4096, 128, kF32, kF16, false, false, kIntegers},
    {"exact, gemv, fp16 out",             1,   33,   896, 128, kF16, kF16, true,  true,  kIntegers},
    {"exact, bf16",                       6,   48,   256,  64, kB16, kB16, true,  false, kIntegers},
    {"exact, group 32",                  15,   17,   544,  32, kF32, kF32, true,  true,  kIntegers},
    {"exact, 16 rows",                   16,  128,   896, 128, kF32, kF16, false, true,  kIntegers},
    {"exact, 100 rows",                 100,   64,   512,  64, kF16, kF16, true,  false, kIntegers},
    {"every k of one row",               32,   19,    32,  32, kF32, kF32, true,  false, kOneHot},
    {"k across tiles",                   64,  100,   896, 128, kF16, kF16, false, false, kOneHot},
    {"k across tiles, zero points",      33,   36,   320,  64, kB16, kB16, true,  true,  kOneHot},
    {"first and last k",                  2, 1000,  4864, 128, kF32, kF16, true,  false, kOneHot},
    {"gate and up, one row",              1,  448,   896, 128, kF16, kF16, false, false, kBell, true},
    {"gate and up, wide",                 1, 9728,   256, 128, kB16, kB16, false, false, kBell, true},
    {"gate and up, groups of 32",         5,  256,   512,  32, kF16, kF16, true,  true,  kBell, true},
    {"gate and up, tree of 16",          16,  640,   640, 128, kF16, kF16, true,  false, kBell, true},
    {"gate and up, odd halves",           3,   34,   192,  64, kF32, kF16, false, true,  kBell, true},
    {"gate and up, 70 rows",             70,  272,   384, 128, kF16, kF16, false, true,  kBell, true},
};
// clang-format on

inline std::ostream& operator<<(std::ostream& out, const Int4GemmCase& c) {
  return out << c.reason << ": M " << c.m << " N " << c.n << " K " << c.k << " G " << c.group_size
             << " act " << c.activation_type << " scale " << c.scale_type
             << (c.zero_points ? " zp" : "") << (c.bias ? " bias" : "")
             << (c.swiglu ? " swiglu" : "");
}

}  // namespace dovetail::conformance
