// SPDX-License-Identifier: Apache-2.0
// schemas(): every operator's declaration as plain dictionaries, for the exporter and the tests.
#include "bindings.h"

#include <nanobind/stl/string.h>

#include <variant>

#include "ops/attention.h"
#include "ops/int4_gemm.h"
#include "ops/schema.h"

namespace nb = nanobind;

namespace dovetail::python {
namespace {

nb::object to_python(const AttributeValue& value) {
  return std::visit([](const auto& v) { return nb::cast(v); }, value);
}

nb::dict describe(const AttributeSpec& spec) {
  constexpr const char* kTypes[] = {"int", "float", "string"};
  nb::dict attribute;
  attribute["type"] = kTypes[static_cast<int>(spec.type)];
  attribute["required"] = spec.required;
  attribute["default"] = spec.required ? nb::none() : to_python(spec.default_value);
  nb::list choices;
  for (const std::string& choice : spec.choices) {
    choices.append(choice);
  }
  attribute["choices"] = choices;
  attribute["doc"] = spec.doc;
  return attribute;
}

nb::list describe(const std::vector<TensorSpec>& specs) {
  nb::list tensors;
  for (const TensorSpec& spec : specs) {
    nb::dict tensor;
    tensor["name"] = spec.name;
    tensor["types"] = type_list(spec.type_mask);
    tensor["shape"] = spec.shape;
    tensor["group"] = spec.group;
    tensor["doc"] = spec.doc;
    tensors.append(tensor);
  }
  return tensors;
}

nb::dict describe(const OpSchema& schema) {
  nb::dict attributes;
  for (const AttributeSpec& spec : schema.attributes) {
    attributes[spec.name] = describe(spec);
  }
  nb::dict op;
  op["name"] = schema.name;
  op["version"] = schema.version;
  op["domain"] = schema.domain;
  op["doc"] = schema.doc;
  op["attributes"] = attributes;
  op["inputs"] = describe(schema.inputs);
  op["outputs"] = describe(schema.outputs);
  return op;
}

}  // namespace

void bind_schemas(nb::module_& m) {
  m.def(
      "schemas",
      [] {
        nb::dict all;
        for (const OpSchema* schema : all_schemas()) {
          all[schema->name] = describe(*schema);
        }
        return all;
      },
      "Every operator by name: domain, attributes with defaults, inputs and outputs in order.");
}

}  // namespace dovetail::python
