// SPDX-License-Identifier: Apache-2.0
#include "dovetail/int4_pack.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "layout/int4_layout.h"
#include "layout/narrow_float.h"
#include "ops/message.h"

namespace dovetail {
namespace {

constexpr std::byte kTwoPaddingWeights{0x88};
constexpr std::uint8_t kSymmetricZeroPoint = 8;

Status check_size(const char* tensor, std::size_t got, std::int64_t expected) {
  if (got != static_cast<std::size_t>(expected)) {
    return invalid_argument("int4_pack: ", tensor, " has ", got, " elements, expected ", expected);
  }
  return Status::success();
}

// Sizes of the plain and the packed side; both zero-point buffers are empty or both are full.
struct Sizes {
  std::size_t codes, plain_scales, plain_zero_points;
  std::size_t weights, scale_bytes, zero_points;
};

Status check(const Int4Format& f, const Sizes& sizes) {
  if (f.scale_type != DataType::kFloat32 && f.scale_type != DataType::kFloat16 &&
      f.scale_type != DataType::kBFloat16) {
    return unsupported("int4_pack: scales are ", f.scale_type, ", expected fp32, fp16 or bf16");
  }
  if (f.group_size != 32 && f.group_size != 64 && f.group_size != 128) {
    return unsupported("int4_pack: group_size is ", f.group_size, ", expected 32, 64 or 128");
  }
  if (f.n < 1 || f.k < 1 || f.k % f.group_size != 0) {
    return invalid_argument(
        "int4_pack: codes are [", f.n, ", ", f.k,
        "], expected at least one row and K a multiple of group_size = ", f.group_size);
  }
  const std::int64_t plain_scales = f.n * (f.k / f.group_size);
  const std::int64_t packed_scales = int4_scales_shape(f.layout, f.n, f.k, f.group_size).count();
  const auto scale_size = static_cast<std::int64_t>(size_of(f.scale_type));
  DOVETAIL_RETURN_IF_ERROR(check_size("codes", sizes.codes, f.n * f.k));
  DOVETAIL_RETURN_IF_ERROR(check_size("plain scales", sizes.plain_scales, plain_scales));
  DOVETAIL_RETURN_IF_ERROR(
      check_size("weights", sizes.weights, int4_weights_shape(f.layout, f.n, f.k).count()));
  DOVETAIL_RETURN_IF_ERROR(
      check_size("packed scales (bytes)", sizes.scale_bytes, packed_scales * scale_size));
  if (sizes.plain_zero_points != 0 || sizes.zero_points != 0) {
    DOVETAIL_RETURN_IF_ERROR(
        check_size("plain zero points", sizes.plain_zero_points, plain_scales));
    DOVETAIL_RETURN_IF_ERROR(check_size("packed zero points", sizes.zero_points, packed_scales));
  }
  return Status::success();
}

void store_scale(std::byte* at, DataType type, float value) {
  if (type == DataType::kFloat32) {
    std::memcpy(at, &value, sizeof value);
    return;
  }
  const std::uint16_t bits =
      type == DataType::kFloat16 ? float_to_half(value) : float_to_bfloat16(value);
  std::memcpy(at, &bits, sizeof bits);
}

float load_scale(const std::byte* at, DataType type) {
  if (type == DataType::kFloat32) {
    float value = 0;
    std::memcpy(&value, at, sizeof value);
    return value;
  }
  std::uint16_t bits = 0;
  std::memcpy(&bits, at, sizeof bits);
  return type == DataType::kFloat16 ? half_to_float(bits) : bfloat16_to_float(bits);
}

template <class Address, class Visit>
void for_each_weight(const Int4Format& f, Address address, Visit visit) {
  for (std::int64_t n = 0; n < f.n; ++n) {
    for (std::int64_t k = 0; k < f.k; ++k) {
      visit(static_cast<std::size_t>(n * f.k + k), address(n, k, f.k));
    }
  }
}

// Calls visit(code index, address) for every weight.
template <class Visit>
void for_each_weight(const Int4Format& f, Visit visit) {
  switch (f.layout) {
    case WeightLayout::kEdgeLlmV1:
      return for_each_weight(
          f, [](auto... at) { return edgellm_v1_address(at...); }, visit);
    case WeightLayout::kCpuV1:
      return for_each_weight(
          f, [](auto... at) { return cpu_v1_address(at...); }, visit);
    case WeightLayout::kCudaV1:
      return for_each_weight(
          f, [](auto... at) { return cuda_v1_address(at...); }, visit);
  }
}

// Calls visit(n, g, plain index, packed index) for every scale; stops at the first error.
template <class Visit>
Status for_each_scale(const Int4Format& f, Visit visit) {
  const std::int64_t groups = f.k / f.group_size;
  for (std::int64_t n = 0; n < f.n; ++n) {
    for (std::int64_t g = 0; g < groups; ++g) {
      DOVETAIL_RETURN_IF_ERROR(
          visit(n, g, static_cast<std::size_t>(n * groups + g),
                static_cast<std::size_t>(scale_index(f.layout, n, g, f.n, groups))));
    }
  }
  return Status::success();
}

}  // namespace

Status pack_int4(const Int4Format& format, const PlainInt4& plain, const PackedInt4& packed) {
  DOVETAIL_RETURN_IF_ERROR(
      check(format, {plain.codes.size(), plain.scales.size(), plain.zero_points.size(),
                     packed.weights.size(), packed.scales.size(), packed.zero_points.size()}));
  std::uint8_t all_bits = 0;
  for (const std::uint8_t code : plain.codes) {
    all_bits |= code;
  }
  if (all_bits > 15) {
    const auto bad = std::find_if(plain.codes.begin(), plain.codes.end(),
                                  [](std::uint8_t code) { return code > 15; });
    const auto at = static_cast<std::int64_t>(bad - plain.codes.begin());
    return invalid_argument("int4_pack: codes[", at / format.k, ", ", at % format.k, "] is ",
                            static_cast<int>(*bad), ", expected 0 to 15");
  }
  std::fill(packed.weights.begin(), packed.weights.end(), kTwoPaddingWeights);
  for_each_weight(format, [&](std::size_t code, NibbleAddress address) {
    std::byte& byte = packed.weights[static_cast<std::size_t>(address.byte)];
    byte =
        (byte & std::byte(0xf0 >> address.shift)) | std::byte(plain.codes[code] << address.shift);
  });

  std::fill(packed.scales.begin(), packed.scales.end(), std::byte{0});
  std::fill(packed.zero_points.begin(), packed.zero_points.end(), std::byte{kSymmetricZeroPoint});
  const std::size_t scale_size = size_of(format.scale_type);
  return for_each_scale(format, [&](std::int64_t n, std::int64_t g, std::size_t from,
                                    std::size_t to) {
    std::byte* at = &packed.scales[to * scale_size];
    store_scale(at, format.scale_type, plain.scales[from]);
    if (!std::isfinite(load_scale(at, format.scale_type))) {
      return invalid_argument("int4_pack: scales[", n, ", ", g, "] is ", plain.scales[from],
                              ", expected a finite ", format.scale_type, " value");
    }
    if (!packed.zero_points.empty()) {
      if (plain.zero_points[from] > 15) {
        return invalid_argument("int4_pack: zero_points[", n, ", ", g, "] is ",
                                static_cast<int>(plain.zero_points[from]), ", expected 0 to 15");
      }
      packed.zero_points[to] = std::byte(plain.zero_points[from]);
    }
    return Status::success();
  });
}

Status unpack_int4(const Int4Format& format, const PackedInt4View& packed,
                   const PlainInt4Buffers& plain) {
  DOVETAIL_RETURN_IF_ERROR(
      check(format, {plain.codes.size(), plain.scales.size(), plain.zero_points.size(),
                     packed.weights.size(), packed.scales.size(), packed.zero_points.size()}));
  for_each_weight(format, [&](std::size_t code, NibbleAddress address) {
    const auto byte = static_cast<unsigned>(packed.weights[static_cast<std::size_t>(address.byte)]);
    plain.codes[code] = static_cast<std::uint8_t>(byte >> address.shift & 15u);
  });
  const std::size_t scale_size = size_of(format.scale_type);
  return for_each_scale(format, [&](std::int64_t, std::int64_t, std::size_t to, std::size_t from) {
    plain.scales[to] = load_scale(&packed.scales[from * scale_size], format.scale_type);
    if (!plain.zero_points.empty()) {
      plain.zero_points[to] = static_cast<std::uint8_t>(packed.zero_points[from]);
    }
    return Status::success();
  });
}

}  // namespace dovetail
