// SPDX-License-Identifier: Apache-2.0
// How an operator is declared, once. The TensorRT creators, the ONNX Runtime operators, the Python
// exporter, the validation messages and docs/operators.md are all derived from an OpSchema.
//
// An attribute is bound to a field of the operator's attribute struct by a member pointer, so that
// parsing (engine -> struct) and listing (struct -> engine, for serialisation) share one table.
// Inputs stand in the contract's order. An input may belong to a group that an attribute switches
// on; inputs of a group that is off are absent, and the ones behind them move up.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "dovetail/status.h"
#include "dovetail/tensor.h"

namespace dovetail {

using AttributeValue = std::variant<std::int64_t, double, std::string>;

// A named value as an engine hands it over.
struct Attribute {
  std::string name;
  AttributeValue value;
};

enum class AttributeType { kInt, kFloat, kString };
const char* name_of(AttributeType type);  // "an integer", "a float", "a string"

constexpr std::uint32_t type_bit(DataType type) {
  return 1u << static_cast<unsigned>(type);
}
template <class... Types>
constexpr std::uint32_t types(Types... list) {
  return (type_bit(list) | ...);
}

struct AttributeSpec {
  const char* name;
  AttributeType type;
  bool required;
  AttributeValue default_value;      // when not required
  std::vector<std::string> choices;  // strings only: the accepted values
  double minimum;                    // numbers only: the smallest accepted value
  const char* doc;
};

struct TensorSpec {
  const char* name;
  std::uint32_t type_mask;  // types(...)
  const char* shape;        // in the layout words of DESIGN: "[B, S, (Hq+2*Hk)*D]"
  const char* group;        // attribute that switches the tensor on, or "" for always
  const char* doc;
};

struct AliasSpec {
  int output;
  int input;
};

struct OpSchema {
  const char* name;  // node type in ONNX and creator name in TensorRT
  const char* version;
  const char* domain;  // ONNX domain
  const char* prefix;  // how messages begin: "attention"
  const char* doc;
  std::vector<AttributeSpec> attributes;
  std::vector<TensorSpec> inputs;
  std::vector<TensorSpec> outputs;
  std::vector<AliasSpec> aliases;

  const AttributeSpec* find_attribute(std::string_view attribute_name) const;
};

// Every operator of the library, and the first of them: those that TensorRT has as plugins. The
// others exist where graphs are not left to TensorRT's own fusions.
std::span<const OpSchema* const> all_schemas();
std::span<const OpSchema* const> plugin_schemas();

// "fp32, fp16, bf16" for a type mask.
std::string type_list(std::uint32_t type_mask);

// Checks `given` against the declaration: unknown, repeated, missing, mistyped, out of range or not
// one of the choices is an error; defaults are filled in. The result has one entry per declared
// attribute, in declaration order.
Result<std::vector<Attribute>> complete_attributes(const OpSchema& schema,
                                                   std::span<const Attribute> given);

// The positions of inputs (in TensorSpec order) for a set of switched-on groups: index of each
// declared input among those present, or -1. `on(group)` tells whether an attribute group is on.
template <class On>
std::vector<int> input_positions(const OpSchema& schema, On on) {
  std::vector<int> positions;
  int next = 0;
  for (const TensorSpec& spec : schema.inputs) {
    positions.push_back(spec.group[0] == '\0' || on(std::string_view(spec.group)) ? next++ : -1);
  }
  return positions;
}

// A shape as it is known when a node is created: a negative dimension is not known yet, and a shape
// of rank 0 stands for one of which nothing is known (no operator has a scalar input).
bool may_equal(const Shape& got, const Shape& expected);
inline std::int64_t known_dim(const TensorDesc& tensor, int i) {
  return tensor.shape.rank() == 0 ? -1 : tensor.shape[i];
}

// Messages shared by the describe functions. `spec` names the tensor, `index` its position.
Status check_type(const OpSchema& schema, const TensorSpec& spec, DataType got);
Status check_rank(const OpSchema& schema, const TensorSpec& spec, const Shape& got, int rank);
Status wrong_shape(const OpSchema& schema, const TensorSpec& spec, const Shape& got,
                   const Shape& expected);

}  // namespace dovetail
