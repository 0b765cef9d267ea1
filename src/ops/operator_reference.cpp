// SPDX-License-Identifier: Apache-2.0
#include "ops/operator_reference.h"

#include <ostream>
#include <sstream>

#include "ops/schema.h"

namespace dovetail {
namespace {

void print_default(std::ostream& out, const AttributeSpec& spec) {
  if (spec.required) {
    out << "required";
  } else if (const auto* text = std::get_if<std::string>(&spec.default_value)) {
    out << '`' << *text << '`';
  } else {
    std::visit([&](const auto& value) { out << value; }, spec.default_value);
  }
}

const char* type_name(AttributeType type) {
  return type == AttributeType::kInt     ? "INT32"
         : type == AttributeType::kFloat ? "FLOAT32"
                                         : "string";
}

void print_attributes(std::ostream& out, const OpSchema& schema) {
  out << "\n| attribute | type | default | meaning |\n| --- | --- | --- | --- |\n";
  for (const AttributeSpec& spec : schema.attributes) {
    out << "| `" << spec.name << "` | " << type_name(spec.type) << " | ";
    print_default(out, spec);
    out << " | " << spec.doc;
    for (std::size_t i = 0; i < spec.choices.size(); ++i) {
      out << (i ? ", `" : " (`") << spec.choices[i] << '`'
          << (i + 1 == spec.choices.size() ? ")" : "");
    }
    out << " |\n";
  }
}

void print_tensors(std::ostream& out, const std::vector<TensorSpec>& tensors, const char* title) {
  out << "\n| " << title << " | types | shape | present | meaning |\n"
      << "| --- | --- | --- | --- | --- |\n";
  for (const TensorSpec& spec : tensors) {
    out << "| `" << spec.name << "` | " << type_list(spec.type_mask) << " | " << spec.shape
        << " | ";
    if (spec.group[0] == '\0') {
      out << "always";
    } else {
      out << "`" << spec.group << "` = 1";
    }
    out << " | " << spec.doc << " |\n";
  }
}

}  // namespace

std::string operator_reference() {
  std::ostringstream out;
  out << "# Operator reference\n\n"
         "Rendered from the declarations in src/ops; a test compares this file with them.\n"
         "B batch, S new tokens (padded), C cache capacity, Hq / Hk query / KV heads, D head size, "
         "R rotary width,\nM = B * S rows, K in, N out, G group size. An optional input is present "
         "when its attribute is 1; the inputs\nbehind an absent one move up.\n";
  for (const OpSchema* schema : all_schemas()) {
    out << "\n## " << schema->name << "\n\n"
        << schema->doc << " ONNX domain `" << schema->domain << "`, version " << schema->version
        << ".\n";
    print_attributes(out, *schema);
    print_tensors(out, schema->inputs, "input");
    print_tensors(out, schema->outputs, "output");
    for (const AliasSpec& alias : schema->aliases) {
      out << "\nOutput `" << schema->outputs[static_cast<std::size_t>(alias.output)].name
          << "` aliases input `" << schema->inputs[static_cast<std::size_t>(alias.input)].name
          << "`.\n";
    }
  }
  return std::move(out).str();
}

}  // namespace dovetail
