// SPDX-License-Identifier: Apache-2.0
// A tokenizer.json small enough to read in a test, with every part of the format that we support:
// the 256 bytes of the byte alphabet (id = byte), a few merges from id 256, two added tokens behind
// them, NFC, Split + ByteLevel, a template that puts <s> in front.
#pragma once

#include <nlohmann/json.hpp>

namespace dovetail::tokenizer {

// Ids of the tokens that are more than one byte.
inline constexpr int32_t kTh = 256;        // "th"
inline constexpr int32_t kThe = 257;       // "the"
inline constexpr int32_t kSpaceThe = 258;  // " the"
inline constexpr int32_t kHe = 259;        // "he"
inline constexpr int32_t kBegin = 260;     // "<s>", special
inline constexpr int32_t kTool = 261;      // "<tool>", not special

nlohmann::json small_tokenizer_json();

}  // namespace dovetail::tokenizer
