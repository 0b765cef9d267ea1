// SPDX-License-Identifier: Apache-2.0
// One row of the embedding table [V, H] in the type that the graph takes.
#pragma once

#include <cstdint>

#include "runtime/safetensors.h"

namespace dovetail {

// table: fp32, fp16 or bf16; id in [0, V). Writes H elements of `type` (the same three).
void copy_embedding_row(const SafeTensor& table, std::int32_t id, DataType type, std::byte* out);

}  // namespace dovetail
