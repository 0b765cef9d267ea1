// SPDX-License-Identifier: Apache-2.0
// Output types and shapes for ONNX Runtime's graph, from the operator's own output rules. Unknown
// dimensions keep their names: an output dimension that comes from an input dimension has its
// symbol.
#pragma once

#include <onnxruntime_c_api.h>

#include <span>
#include <vector>

#include "dovetail/status.h"
#include "ops/output_rule.h"
#include "ops/schema.h"

namespace dovetail::ort {

// The rules of a node: `activation_rank` is that of input 0.
using RulesOf = std::vector<OutputRule> (*)(std::span<const Attribute> given, int activation_rank);

// A node with bad attributes gets types and ranks only; its kernel's creation reports the reason.
Status infer_shapes(const OrtApi& api, OrtShapeInferContext* context, const OpSchema& schema,
                    RulesOf rules_of);

}  // namespace dovetail::ort
