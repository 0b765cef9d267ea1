// SPDX-License-Identifier: Apache-2.0
// int4 weights for Python: shapes of a layout, pack, unpack, quantize. Plain form is row-major, one
// value a byte: codes uint8 [N, K], scales fp32 [N, K/G], zero points uint8 [N, K/G] or None.
// Packed scales travel as bytes, because numpy has no bf16 of its own.
#include "bindings.h"

#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "dovetail/cpu.h"
#include "dovetail/int4_pack.h"
#include "layout/int4_layout.h"
#include "ops/message.h"
#include "quantize.h"

namespace nb = nanobind;

namespace dovetail::python {
namespace {

template <class T>
using Matrix = nb::ndarray<const T, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
template <class T>
using Flat = nb::ndarray<const T, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

template <class T>
std::span<const T> span_of(const Matrix<T>& array) {
  return {array.data(), array.size()};
}

template <class T>
struct Owned {
  T* data;
  std::size_t size;
  nb::capsule owner;

  explicit Owned(std::size_t count)
      : data(new T[count]),
        size(count),
        owner(data, [](void* p) noexcept { delete[] static_cast<T*>(p); }) {}
  std::span<T> span() { return {data, size}; }
  nb::object array(std::initializer_list<std::size_t> shape) {
    return nb::cast(nb::ndarray<nb::numpy, T>(data, shape, owner));
  }
};

template <class Enum, std::size_t kCount>
Enum parse(const char* what, const std::string& name, const Enum (&choices)[kCount]) {
  std::string list;
  for (const Enum choice : choices) {
    if (name == name_of(choice)) {
      return choice;
    }
    list += (list.empty() ? "" : ", ") + std::string(name_of(choice));
  }
  raise(invalid_argument(what, " is ", name, ", expected ", list));
}

WeightLayout layout_of(const std::string& name) {
  constexpr WeightLayout kLayouts[] = {WeightLayout::kEdgeLlmV1, WeightLayout::kCpuV1,
                                       WeightLayout::kCudaV1};
  return parse("weight_layout", name, kLayouts);
}

DataType scale_type_of(const std::string& name) {
  constexpr DataType kTypes[] = {DataType::kFloat32, DataType::kFloat16, DataType::kBFloat16};
  return parse("scale type", name, kTypes);
}

nb::tuple to_tuple(const Shape& shape) {
  nb::list dims;
  for (int i = 0; i < shape.rank(); ++i) {
    dims.append(shape[i]);
  }
  return nb::tuple(dims);
}

nb::tuple pack(const Matrix<std::uint8_t>& codes, const Matrix<float>& scales,
               const std::optional<Matrix<std::uint8_t>>& zero_points, std::int64_t group_size,
               const std::string& layout, const std::string& scale_type) {
  const Int4Format format{static_cast<std::int64_t>(codes.shape(0)),
                          static_cast<std::int64_t>(codes.shape(1)), group_size, layout_of(layout),
                          scale_type_of(scale_type)};
  const auto count = [](const Shape& shape) { return static_cast<std::size_t>(shape.count()); };
  const std::size_t scale_count =
      group_size < 1 ? 0 : count(int4_scales_shape(format.layout, format.n, format.k, group_size));
  Owned<std::uint8_t> weights(count(int4_weights_shape(format.layout, format.n, format.k)));
  Owned<std::uint8_t> packed_scales(scale_count * size_of(format.scale_type));
  Owned<std::uint8_t> packed_zero_points(zero_points ? scale_count : 0);
  Status status;
  {
    nb::gil_scoped_release release;
    status = pack_int4(
        format,
        {.codes = span_of(codes),
         .scales = span_of(scales),
         .zero_points = zero_points ? span_of(*zero_points) : std::span<const std::uint8_t>()},
        {.weights = std::as_writable_bytes(weights.span()),
         .scales = std::as_writable_bytes(packed_scales.span()),
         .zero_points = std::as_writable_bytes(packed_zero_points.span())});
  }
  if (!status.ok()) {
    raise(status);
  }
  return nb::make_tuple(
      weights.array({weights.size}), packed_scales.array({packed_scales.size}),
      zero_points ? packed_zero_points.array({packed_zero_points.size}) : nb::none());
}

nb::tuple unpack(const Flat<std::uint8_t>& weights, const Flat<std::uint8_t>& scales,
                 const std::optional<Flat<std::uint8_t>>& zero_points, std::int64_t n,
                 std::int64_t k, std::int64_t group_size, const std::string& layout,
                 const std::string& scale_type) {
  if (n < 1 || k < 1 || group_size < 1) {
    raise(invalid_argument("int4_pack: N, K and group_size are ", n, ", ", k, ", ", group_size,
                           ", expected all at least 1"));
  }
  const auto rows = static_cast<std::size_t>(n);
  const auto columns = static_cast<std::size_t>(k);
  const auto groups = static_cast<std::size_t>(k / group_size);
  Owned<std::uint8_t> codes(rows * columns);
  Owned<float> plain_scales(rows * groups);
  Owned<std::uint8_t> plain_zero_points(zero_points ? rows * groups : 0);
  const auto bytes = [](const Flat<std::uint8_t>& array) {
    return std::as_bytes(std::span(array.data(), array.size()));
  };
  const Status status =
      unpack_int4({n, k, group_size, layout_of(layout), scale_type_of(scale_type)},
                  {.weights = bytes(weights),
                   .scales = bytes(scales),
                   .zero_points = zero_points ? bytes(*zero_points) : std::span<const std::byte>()},
                  {.codes = codes.span(),
                   .scales = plain_scales.span(),
                   .zero_points = plain_zero_points.span()});
  if (!status.ok()) {
    raise(status);
  }
  return nb::make_tuple(codes.array({rows, columns}), plain_scales.array({rows, groups}),
                        zero_points ? plain_zero_points.array({rows, groups}) : nb::none());
}

nb::tuple quantize(const Matrix<float>& weights, std::int64_t group_size, bool asymmetric,
                   const std::string& scale_type, int threads) {
  const QuantizeParams params{static_cast<std::int64_t>(weights.shape(0)),
                              static_cast<std::int64_t>(weights.shape(1)), group_size, asymmetric,
                              scale_type_of(scale_type)};
  const std::size_t rows = weights.shape(0);
  const std::size_t groups =
      group_size < 1 ? 0 : weights.shape(1) / static_cast<std::size_t>(group_size);
  Owned<std::uint8_t> codes(weights.size());
  Owned<float> scales(rows * groups);
  Owned<std::uint8_t> zero_points(asymmetric ? rows * groups : 0);
  Result<QuantizeError> error = QuantizeError{};
  {
    nb::gil_scoped_release release;
    ThreadPool pool(threads < 1 ? 1 : threads);
    error = quantize_int4(params,
                          {.weights = span_of(weights),
                           .codes = codes.span(),
                           .scales = scales.span(),
                           .zero_points = zero_points.span()},
                          pool.runner());
  }
  const QuantizeError total = value_or_raise(std::move(error));
  return nb::make_tuple(codes.array({rows, weights.shape(1)}), scales.array({rows, groups}),
                        asymmetric ? zero_points.array({rows, groups}) : nb::none(),
                        total.squared_error, total.squared_norm);
}

}  // namespace

void bind_int4(nb::module_& m) {
  m.def(
      "int4_weights_shape",
      [](const std::string& layout, std::int64_t n, std::int64_t k) {
        return to_tuple(int4_weights_shape(layout_of(layout), n, k));
      },
      nb::arg("layout"), nb::arg("n"), nb::arg("k"), "Shape of the packed weights, in bytes.");
  m.def(
      "int4_scales_shape",
      [](const std::string& layout, std::int64_t n, std::int64_t k, std::int64_t group_size) {
        if (group_size < 1) {
          raise(invalid_argument("group_size is ", group_size, ", expected 32, 64 or 128"));
        }
        return to_tuple(int4_scales_shape(layout_of(layout), n, k, group_size));
      },
      nb::arg("layout"), nb::arg("n"), nb::arg("k"), nb::arg("group_size"),
      "Shape of the packed scales and zero points.");
  m.def("pack_int4", &pack, nb::arg("codes"), nb::arg("scales"), nb::arg("zero_points").none(),
        nb::arg("group_size"), nb::arg("layout"), nb::arg("scale_type"),
        "Plain codes, scales, zero points -> the bytes of a layout, three flat uint8 arrays.");
  m.def("unpack_int4", &unpack, nb::arg("weights"), nb::arg("scales"),
        nb::arg("zero_points").none(), nb::arg("n"), nb::arg("k"), nb::arg("group_size"),
        nb::arg("layout"), nb::arg("scale_type"), "The reverse of pack_int4.");
  m.def("quantize_int4", &quantize, nb::arg("weights"), nb::arg("group_size"),
        nb::arg("asymmetric"), nb::arg("scale_type"), nb::arg("threads"),
        "fp32 [N, K] -> codes, scales, zero points or None, sum of squared errors, of squares.");
}

}  // namespace dovetail::python
