// SPDX-License-Identifier: Apache-2.0
#include "onnxruntime/swiglu.h"

namespace dovetail::ort {

std::vector<OutputRule> SwigluOp::rules(const Attributes& attributes, int activation_rank) {
  return output_rules(attributes, activation_rank == 2 ? 2 : 3);
}

}  // namespace dovetail::ort
