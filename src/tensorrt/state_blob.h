// SPDX-License-Identifier: Apache-2.0
// Serialised state of a V2 plugin: text, so that a hex dump of an engine explains itself.
//
//   dovetail-state 1 AttentionPlugin\n
//   num_q_heads int 32\n ...  one line per attribute, in declaration order; floats as their bits
//   end <FNV-1a 64 of everything above, 16 hex digits>\n
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "ops/schema.h"

namespace dovetail::tensorrt {

std::string encode_state(const OpSchema& schema, const std::vector<Attribute>& attributes);
// Refuses a truncated, altered, foreign or newer blob with kDataLoss.
Result<std::vector<Attribute>> decode_state(const OpSchema& schema, std::string_view blob);

}  // namespace dovetail::tensorrt
