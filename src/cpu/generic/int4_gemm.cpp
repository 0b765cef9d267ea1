// SPDX-License-Identifier: Apache-2.0
// The int4 GEMM in plain C++: the tier that every CPU has and that the others are read against.
// Loops run over the 16 columns of a panel innermost, which any compiler vectorizes.
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

// One line's codes minus zero points, [8 k][16 columns].
template <class T>
void unpack_line(const std::uint8_t* line, const T* zero_points, T* out) {
  for (int j = 0; j < 4; ++j) {
    for (int n = 0; n < kPanelColumns; ++n) {
      const int byte = line[n * 4 + j];
      out[j * kPanelColumns + n] = static_cast<T>(static_cast<T>(byte & 15) - zero_points[n]);
      out[(j + 4) * kPanelColumns + n] = static_cast<T>(static_cast<T>(byte >> 4) - zero_points[n]);
    }
  }
}

template <class T>
void load_zero_points(const Int4MultiplyTask& t, int group, T* out) {
  for (int n = 0; n < kPanelColumns; ++n) {
    out[n] =
        t.zero_points == nullptr ? T{8} : static_cast<T>(t.zero_points[group * kPanelColumns + n]);
  }
}

void multiply_exact(const Int4MultiplyTask& t) {
  const auto* a = static_cast<const float*>(t.activations);
  const std::uint8_t* line = t.weights;
  for (int g = 0; g < t.groups; ++g) {
    float zero_points[kPanelColumns];
    load_zero_points(t, g, zero_points);
    float group_sums[kRows][kPanelColumns] = {};
    for (int k = 0; k < t.group_size; k += 8, line += kLineBytes, a += 8 * t.rows) {
      float weights[8 * kPanelColumns];
      unpack_line(line, zero_points, weights);
      for (int r = 0; r < t.rows; ++r) {
        for (int j = 0; j < 8; ++j) {
          for (int n = 0; n < kPanelColumns; ++n) {
            group_sums[r][n] += a[j * t.rows + r] * weights[j * kPanelColumns + n];
          }
        }
      }
    }
    for (int n = 0; n < kPanelColumns; ++n) {
      const float scale = load(t.scales, t.scale_format, g * kPanelColumns + n);
      for (int r = 0; r < t.rows; ++r) {
        t.sums[r * kPanelColumns + n] += group_sums[r][n] * scale;
      }
    }
  }
}

void multiply_int8(const Int4MultiplyTask& t) {
  const auto* a = static_cast<const std::int8_t*>(t.activations);
  const std::uint8_t* line = t.weights;
  for (int g = 0; g < t.groups; ++g) {
    std::int16_t zero_points[kPanelColumns];
    load_zero_points(t, g, zero_points);
    std::int32_t group_sums[kRows][kPanelColumns] = {};
    for (int k = 0; k < t.group_size; k += 8, line += kLineBytes, a += 8 * t.rows) {
      std::int16_t weights[8 * kPanelColumns];
      unpack_line(line, zero_points, weights);
      for (int r = 0; r < t.rows; ++r) {
        for (int j = 0; j < 8; ++j) {
          const std::int16_t value = a[(j / 4 * t.rows + r) * 4 + j % 4];
          for (int n = 0; n < kPanelColumns; ++n) {
            group_sums[r][n] += value * weights[j * kPanelColumns + n];
          }
        }
      }
    }
    for (int n = 0; n < kPanelColumns; ++n) {
      const float scale = load(t.scales, t.scale_format, g * kPanelColumns + n);
      for (int r = 0; r < t.rows; ++r) {
        t.sums[r * kPanelColumns + n] +=
            static_cast<float>(group_sums[r][n]) * (scale * t.row_scales[g * t.rows + r]);
      }
    }
  }
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
    .auto_is_int8 = false,
    .pack_exact = pack_exact,
    .pack_int8 = pack_int8,
    .multiply_exact = multiply_exact,
    .multiply_int8 = multiply_int8,
    .store = store,
    .unswizzle = unswizzle,
};

}  // namespace dovetail::cpu
