// SPDX-License-Identifier: Apache-2.0
// The int4 GEMM without intrinsics: the tier that every little-endian CPU has and that the others
// are read against. A panel's 16 columns are one vector of the compiler's vector extension (GCC and
// Clang); plain loops over the columns are 5 times slower, because GCC 12 unrolls them before it
// vectorizes.
#include <cstring>

#include "cpu/int4_gemm_kernels.h"
#include "layout/narrow_float.h"

namespace dovetail::cpu {
namespace {

constexpr int kRows = 4;
constexpr float kSmallestAbsmax = 0x1p-100f;

float load(const void* data, FloatFormat format, std::int64_t i) {
  if (format == FloatFormat::kFloat32) {
    return static_cast<const float*>(data)[i];
  }
  const std::uint16_t bits = static_cast<const std::uint16_t*>(data)[i];
  return format == FloatFormat::kFloat16 ? half_to_float(bits) : bfloat16_to_float(bits);
}

void pack_exact(const Int4PackTask& t) {
  auto* packed = static_cast<float*>(t.packed);
  for (std::int64_t k = 0; k < t.k; ++k) {
    for (int r = 0; r < t.rows; ++r) {
      *packed++ = load(t.activations, t.format, r * t.stride + k);
    }
  }
}

// The largest magnitude by its bits: a NaN is larger than every number and stays.
float absmax(const float* values, int count) {
  std::uint32_t largest = 0;
  for (int i = 0; i < count; ++i) {
    const std::uint32_t bits = std::bit_cast<std::uint32_t>(values[i]) & 0x7fffffffu;
    largest = bits > largest ? bits : largest;
  }
  return std::bit_cast<float>(largest);
}

std::int8_t round_to_int8(float scaled) {
  if (!(scaled >= -127.5f && scaled <= 127.5f)) {
    return -128;  // not a number: the group's scale is not finite either
  }
  constexpr float kShift = 0x1.8p23f;  // adding it leaves no fraction bits: rounds to nearest even
  return static_cast<std::int8_t>((scaled + kShift) - kShift);
}

void pack_int8(const Int4PackTask& t) {
  auto* packed = static_cast<std::int8_t*>(t.packed);
  for (std::int64_t g = 0; g * t.group_size < t.k; ++g) {
    for (int r = 0; r < t.rows; ++r) {
      float values[128];
      for (int i = 0; i < t.group_size; ++i) {
        values[i] = load(t.activations, t.format, r * t.stride + g * t.group_size + i);
      }
      const float largest = absmax(values, t.group_size);
      const bool zero = largest < kSmallestAbsmax;
      const float inverse = zero ? 0.0f : 127.0f / largest;
      std::int32_t sum = 0;
      for (int i = 0; i < t.group_size; ++i) {
        const std::int8_t q = zero ? std::int8_t{0} : round_to_int8(values[i] * inverse);
        packed[((g * t.group_size + i) / 4 * t.rows + r) * 4 + i % 4] = q;
        sum += q;
      }
      t.row_scales[g * t.rows + r] = zero ? 0.0f : largest / 127.0f;
      t.row_starts[g * t.rows + r] = -8 * sum;
    }
  }
}

// A value per column of a panel. The compiler splits it into the registers that the CPU has.
using Columns = float __attribute__((vector_size(kPanelColumns * sizeof(float))));
using CodeColumns = std::int32_t __attribute__((vector_size(kPanelColumns * sizeof(float))));

// fp32 holds every partial sum of a group of int8 products exactly (at most 128 * 15 * 128 < 2^24),
// so both modes share a loop: value(k, r) is an activation, finish(sum, scale, index) what a group
// adds to the result.
template <class Value, class Finish>
void multiply(const Int4MultiplyTask& t, Value value, Finish finish) {
  const std::uint8_t* line = t.weights;
  for (int g = 0; g < t.groups; ++g) {
    Columns zero_points = {};
    for (int n = 0; n < kPanelColumns; ++n) {
      zero_points[n] = t.zero_points == nullptr
                           ? 8.0f
                           : static_cast<float>(t.zero_points[g * kPanelColumns + n]);
    }
    Columns sums[kRows] = {};
    for (int k = 0; k < t.group_size; k += 8, line += kLineBytes) {
      CodeColumns words;  // a column's 8 codes, little-endian: low nibbles k 0..3, high ones k 4..7
      std::memcpy(&words, line, sizeof words);
      for (int j = 0; j < 8; ++j) {
        const CodeColumns codes = words >> (j % 4 * 8 + j / 4 * 4) & 15;
        const Columns weights = __builtin_convertvector(codes, Columns) - zero_points;
        for (int r = 0; r < t.rows; ++r) {
          sums[r] += value(g * t.group_size + k + j, r) * weights;
        }
      }
    }
    for (int r = 0; r < t.rows; ++r) {
      for (int n = 0; n < kPanelColumns; ++n) {
        const float scale = load(t.scales, t.scale_format, g * kPanelColumns + n);
        t.sums[r * kPanelColumns + n] += finish(sums[r][n], scale, g * t.rows + r);
      }
    }
  }
}

void multiply_exact(const Int4MultiplyTask& t) {
  const auto* a = static_cast<const float*>(t.activations);
  multiply(
      t, [&](int k, int r) { return a[k * t.rows + r]; },
      [](float sum, float scale, int) { return sum * scale; });
}

void multiply_int8(const Int4MultiplyTask& t) {
  const auto* a = static_cast<const std::int8_t*>(t.activations);
  multiply(
      t, [&](int k, int r) { return static_cast<float>(a[(k / 4 * t.rows + r) * 4 + k % 4]); },
      [&](float sum, float scale, int row) { return sum * (scale * t.row_scales[row]); });
}

void store(const Int4StoreTask& t) {
  for (int r = 0; r < t.rows; ++r) {
    for (int n = 0; n < t.columns; ++n) {
      const float bias = t.bias == nullptr ? 0.0f : load(t.bias, t.format, n);
      const float value = t.sums[r * kPanelColumns + n] + bias;
      const std::int64_t at = r * t.stride + n;
      if (t.format == FloatFormat::kFloat32) {
        static_cast<float*>(t.output)[at] = value;
      } else {
        static_cast<std::uint16_t*>(t.output)[at] =
            t.format == FloatFormat::kFloat16 ? float_to_half(value) : float_to_bfloat16(value);
      }
    }
  }
}

// Nibble a + 4c of word b is k = 8a + 2b + c (docs/layouts.md). Octet a of the line wants the four
// bytes (b, c) = (0,0) (0,1) (1,0) (1,1) low, and the same of b + 2 high.
void unswizzle(const Int4UnswizzleTask& t) {
  std::memset(t.lines, 0x88, static_cast<std::size_t>(t.k / 8 * kLineBytes));
  for (int n = 0; n < t.quads * 4; ++n) {
    for (std::int64_t k = 0; k < t.k; k += 32) {
      const std::uint8_t* half =
          t.weights + n / 4 * t.quad_bytes + k / 64 * 128 + n % 4 * 32 + k % 64 / 2;
      std::uint32_t word[4];
      std::memcpy(word, half, sizeof word);
      for (int octet = 0; octet < 4; ++octet) {
        std::uint8_t* lane = t.lines + (k / 8 + octet) * kLineBytes + n * 4;
        for (int i = 0; i < 4; ++i) {
          const int shift = 4 * octet + i % 2 * 16;
          const std::uint32_t low = word[i / 2] >> shift & 15u;
          const std::uint32_t high = word[i / 2 + 2] >> shift & 15u;
          lane[i] = static_cast<std::uint8_t>(low | high << 4);
        }
      }
    }
  }
}

}  // namespace

const Int4GemmKernels kInt4GemmGeneric = {
    .tier = "generic",
    .exact_rows = kRows,
    .int8_rows = kRows,
    .exact_bytes = {4, 4, 4},
    .auto_is_int8 = false,
    .pack_exact = pack_exact,
    .pack_int8 = pack_int8,
    .multiply_exact = multiply_exact,
    .multiply_int8 = multiply_int8,
    .store = store,
    .unswizzle = unswizzle,
};

}  // namespace dovetail::cpu
