// SPDX-License-Identifier: Apache-2.0
// What a test may ask of the stand-in for TensorRT (engine.cpp).
#pragma once

#include <cstdint>
#include <vector>

namespace dovetail::standin {

struct EnqueuedStep {
  int profile;
  std::int64_t tokens, logit_rows;
  std::vector<const void*> caches;  // of each layer
};

// Every step that ran in any context, in order.
std::vector<EnqueuedStep>& steps();

}  // namespace dovetail::standin
