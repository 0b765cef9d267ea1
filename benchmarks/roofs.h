// SPDX-License-Identifier: Apache-2.0
// Loops of a tier that do nothing but read, multiply-add fp32, or multiply-add bytes; each returns
// a value that depends on all its work. One translation unit per tier (roofs_avx2.cpp, ...).
#pragma once

#include <cstddef>
#include <cstdint>

namespace dovetail::bench {

struct RoofLoops {
  std::uint64_t (*read)(const void* data, std::size_t bytes);  // bytes: a multiple of 4096
  float (*fma)(std::int64_t rounds);                           // fma_flops a round
  std::int32_t (*int8)(std::int64_t rounds);                   // int8_ops a round
  double fma_flops;
  double int8_ops;
};

extern const RoofLoops kRoofLoopsAvx2;
extern const RoofLoops kRoofLoopsAvx512;
extern const RoofLoops kRoofLoopsAmx;  // int8 alone

}  // namespace dovetail::bench
