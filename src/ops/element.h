// SPDX-License-Identifier: Apache-2.0
// One stored element as a number, and back: what the fp64 references read and write. The scale of
// FP8 is the caller's business. NaN for a type that holds no float.
#pragma once

#include <cstdint>

#include "dovetail/tensor.h"

namespace dovetail {

double load_element(const void* data, DataType type, std::int64_t index);
void store_element(void* data, DataType type, std::int64_t index, double value);

}  // namespace dovetail
