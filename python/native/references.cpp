// SPDX-License-Identifier: Apache-2.0
// The fp64 references of src/ops for Python: what a node must compute, to check an engine against.
// Tensors come by the names of the declaration, as fp32 or int32 (packed weights, scales and zero
// points as bytes); results are new arrays.
#include <nanobind/ndarray.h>
#include <nanobind/stl/string.h>

#include <string>
#include <vector>

#include "bindings.h"
#include "ops/attention.h"
#include "ops/attention_reference.h"
#include "ops/int4_gemm.h"
#include "ops/int4_gemm_reference.h"
#include "ops/message.h"
#include "ops/residual_norm.h"
#include "ops/swiglu.h"

namespace nb = nanobind;

namespace dovetail::python {
namespace {

using Array = nb::ndarray<nb::ro, nb::c_contig, nb::device::cpu>;

std::vector<Attribute> attributes_of(const nb::dict& given) {
  std::vector<Attribute> list;
  for (const auto& [key, value] : given) {
    const std::string name = nb::cast<std::string>(key);
    if (nb::isinstance<nb::str>(value)) {
      list.push_back({name, nb::cast<std::string>(value)});
    } else if (nb::isinstance<nb::float_>(value)) {
      list.push_back({name, nb::cast<double>(value)});
    } else {
      list.push_back({name, nb::cast<std::int64_t>(value)});
    }
  }
  return list;
}

// The tensors of a node in declaration order; an unknown name is an error.
struct Tensors {
  std::vector<Array> arrays;
  std::vector<TensorDesc> descriptions;

  Tensors(const OpSchema& schema, const nb::dict& given) {
    for (const TensorSpec& spec : schema.inputs) {
      if (given.contains(spec.name)) {
        arrays.push_back(nb::cast<Array>(given[spec.name]));
        descriptions.push_back(describe(spec, arrays.back()));
      }
    }
    if (arrays.size() != given.size()) {
      raise(invalid_argument(schema.prefix, ": one of the ", given.size(),
                             " inputs has a name that is not declared"));
    }
  }

  // In the order of the node's inputs.
  std::vector<const void*> data() const {
    std::vector<const void*> pointers;
    for (const Array& array : arrays) {
      pointers.push_back(array.data());
    }
    return pointers;
  }

 private:
  static TensorDesc describe(const TensorSpec& spec, const Array& array) {
    std::vector<std::int64_t> dims;
    for (std::size_t i = 0; i < array.ndim(); ++i) {
      dims.push_back(static_cast<std::int64_t>(array.shape(i)));
    }
    const Shape shape{std::span<const std::int64_t>(dims)};
    if (array.dtype() == nb::dtype<float>()) {
      return {DataType::kFloat32, shape};
    }
    if (array.dtype() == nb::dtype<std::int32_t>()) {
      return {DataType::kInt32, shape};
    }
    if (array.dtype() == nb::dtype<std::int8_t>()) {
      return {DataType::kInt8, shape};
    }
    raise(invalid_argument(spec.name, " is of another type, expected fp32, int32 or int8"));
  }
};

template <class T>
nb::object new_array(const T* values, const Shape& shape) {
  const auto count = static_cast<std::size_t>(shape.count());
  T* copy = new T[count];
  std::copy(values, values + count, copy);
  const nb::capsule owner(copy, [](void* p) noexcept { delete[] static_cast<T*>(p); });
  std::vector<std::size_t> dims;
  for (int i = 0; i < shape.rank(); ++i) {
    dims.push_back(static_cast<std::size_t>(shape[i]));
  }
  return nb::cast(nb::ndarray<nb::numpy, T>(copy, dims.size(), dims.data(), owner));
}

nb::tuple attention(const nb::dict& attributes, const nb::dict& inputs) {
  const std::vector<Attribute> list = attributes_of(attributes);
  const AttentionAttributes parsed = value_or_raise(parse_attention_attributes(list));
  const Tensors tensors(attention_schema(), inputs);
  const AttentionProblem problem = value_or_raise(describe_attention(parsed, tensors.descriptions));
  const AttentionInputMap map = attention_inputs(parsed);
  const Shape cache_shape =
      tensors.descriptions[static_cast<std::size_t>(map[AttentionInput::kKvCache])].shape;
  const Shape output_shape = attention_output_shape(problem);
  std::vector<float> cache(static_cast<std::size_t>(cache_shape.count()));
  std::vector<float> output(static_cast<std::size_t>(output_shape.count()));
  void* const outputs[] = {output.data(), cache.data()};
  const Status status =
      attention_reference(problem, attention_buffers(map, tensors.data().data(), outputs, nullptr));
  if (!status.ok()) {
    raise(status);
  }
  return nb::make_tuple(new_array(output.data(), output_shape),
                        new_array(cache.data(), cache_shape));
}

nb::object int4_gemm(const nb::dict& attributes, const nb::dict& inputs) {
  const std::vector<Attribute> list = attributes_of(attributes);
  const Int4GemmAttributes parsed = value_or_raise(parse_int4_gemm_attributes(list));
  const Tensors tensors(int4_gemm_schema(), inputs);
  const Int4GemmProblem problem = value_or_raise(describe_int4_gemm(parsed, tensors.descriptions));
  const Int4GemmInputMap map = int4_gemm_inputs(parsed);
  std::vector<double> output(static_cast<std::size_t>(problem.m * parsed.width()));
  void* const outputs[] = {nullptr};
  const Status status = int4_gemm_reference(
      problem, int4_gemm_buffers(map, tensors.data().data(), outputs, nullptr), output);
  if (!status.ok()) {
    raise(status);
  }
  return new_array(output.data(), Shape{problem.m, parsed.width()});
}

nb::object swiglu(const nb::dict& attributes, const nb::dict& inputs) {
  const std::vector<Attribute> list = attributes_of(attributes);
  const SwigluAttributes parsed = value_or_raise(parse_swiglu_attributes(list));
  const Tensors tensors(swiglu_schema(), inputs);
  const SwigluProblem problem = value_or_raise(describe_swiglu(parsed, tensors.descriptions));
  std::vector<double> output(static_cast<std::size_t>(problem.m * parsed.intermediate_size));
  const Status status = swiglu_reference(problem, {.gate_up = tensors.data()[0]}, output);
  if (!status.ok()) {
    raise(status);
  }
  return new_array(output.data(), Shape{problem.m, parsed.intermediate_size});
}

nb::tuple residual_norm(const nb::dict& attributes, const nb::dict& inputs) {
  const std::vector<Attribute> list = attributes_of(attributes);
  const ResidualNormAttributes parsed = value_or_raise(parse_residual_norm_attributes(list));
  const Tensors tensors(residual_norm_schema(), inputs);
  const ResidualNormProblem problem =
      value_or_raise(describe_residual_norm(parsed, tensors.descriptions));
  const auto count = static_cast<std::size_t>(problem.m * problem.hidden);
  std::vector<double> normed(count), sum(count);
  const Status status = residual_norm_reference(
      problem,
      {.x = tensors.data()[0],
       .residual = tensors.data()[1],
       .weight = tensors.data()[2],
       .rows =
           parsed.has_rows != 0 ? static_cast<const std::int64_t*>(tensors.data()[3]) : nullptr},
      normed, sum);
  if (!status.ok()) {
    raise(status);
  }
  const Shape shape{problem.m, problem.hidden};
  return nb::make_tuple(new_array(normed.data(), shape), new_array(sum.data(), shape));
}

}  // namespace

void bind_references(nb::module_& m) {
  m.def("attention_reference", &attention, nb::arg("attributes"), nb::arg("inputs"),
        "AttentionPlugin in fp64: attributes and fp32 tensors by name -> output, present cache.");
  m.def("int4_gemm_reference", &int4_gemm, nb::arg("attributes"), nb::arg("inputs"),
        "Int4GroupwiseGemmPlugin in fp64: attributes and tensors by name -> fp64 [M, N].");
  m.def("swiglu_reference", &swiglu, nb::arg("attributes"), nb::arg("inputs"),
        "PackedSwiGLU in fp64: attributes and the fp32 tensor gate_up by name -> fp64 [M, I].");
  m.def("residual_norm_reference", &residual_norm, nb::arg("attributes"), nb::arg("inputs"),
        "ResidualRMSNorm in fp64: attributes and tensors by name -> fp64 normed, sum [M, H].");
}

}  // namespace dovetail::python
