// SPDX-License-Identifier: Apache-2.0
// The delimiter rules of the Split and Digits pre-tokenizers: a text is first cut into matches and
// the gaps between them, then the behavior says which cuts stay. For "a-b" split at "-":
//   isolated a|-|b   removed a|b   merged_with_previous a-|b   merged_with_next a|-b
//   contiguous: as isolated, but neighbouring matches stay together (a|--|b)
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/tokenizer/regex.h"

namespace dovetail::tokenizer {

enum class SplitBehavior { kIsolated, kRemoved, kMergedWithPrevious, kMergedWithNext, kContiguous };

// Throws Refusal for an unknown name.
SplitBehavior split_behavior(const std::string& name, const std::string& where);

struct Segment {
  ByteRange range;
  bool is_match = false;
};

// The matches and the gaps between them, in order; `invert` swaps the two roles.
std::vector<Segment> segments_of(std::string_view text, const std::vector<ByteRange>& matches,
                                 bool invert);

// The ranges that remain; empty ones are dropped.
std::vector<ByteRange> apply_behavior(const std::vector<Segment>& segments, SplitBehavior behavior);

}  // namespace dovetail::tokenizer
