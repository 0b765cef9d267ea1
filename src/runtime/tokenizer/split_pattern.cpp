// SPDX-License-Identifier: Apache-2.0
// See split_pattern.h.
#include "runtime/tokenizer/split_pattern.h"

#include <algorithm>

#include "runtime/tokenizer/json_reader.h"

namespace dovetail::tokenizer {

SplitBehavior split_behavior(const std::string& name, const std::string& where) {
  if (name == "Isolated") return SplitBehavior::kIsolated;
  if (name == "Removed") return SplitBehavior::kRemoved;
  if (name == "MergedWithPrevious") return SplitBehavior::kMergedWithPrevious;
  if (name == "MergedWithNext") return SplitBehavior::kMergedWithNext;
  if (name == "Contiguous") return SplitBehavior::kContiguous;
  refuse_corrupt(where, ".behavior is '", name,
                 "', expected Isolated, Removed, MergedWithPrevious, MergedWithNext or Contiguous");
}

std::vector<Segment> segments_of(std::string_view text, const std::vector<ByteRange>& matches,
                                 bool invert) {
  std::vector<Segment> segments;
  segments.reserve(2 * matches.size() + 1);
  size_t previous = 0;
  for (const ByteRange& match : matches) {
    if (previous != match.begin) segments.push_back({{previous, match.begin}, invert});
    segments.push_back({match, !invert});
    previous = match.end;
  }
  if (previous != text.size()) segments.push_back({{previous, text.size()}, invert});
  return segments;
}

std::vector<ByteRange> apply_behavior(const std::vector<Segment>& segments,
                                      SplitBehavior behavior) {
  std::vector<ByteRange> kept;
  kept.reserve(segments.size());
  bool after_match = false;
  switch (behavior) {
    case SplitBehavior::kIsolated:
      for (const Segment& segment : segments) kept.push_back(segment.range);
      break;
    case SplitBehavior::kRemoved:
      for (const Segment& segment : segments) {
        if (!segment.is_match) kept.push_back(segment.range);
      }
      break;
    case SplitBehavior::kContiguous:
      for (const Segment& segment : segments) {
        if (segment.is_match == after_match && !kept.empty()) {
          kept.back().end = segment.range.end;
        } else {
          kept.push_back(segment.range);
        }
        after_match = segment.is_match;
      }
      break;
    case SplitBehavior::kMergedWithPrevious:
      for (const Segment& segment : segments) {
        if (segment.is_match && !after_match && !kept.empty()) {
          kept.back().end = segment.range.end;
        } else {
          kept.push_back(segment.range);
        }
        after_match = segment.is_match;
      }
      break;
    case SplitBehavior::kMergedWithNext:
      for (auto segment = segments.rbegin(); segment != segments.rend(); ++segment) {
        if (segment->is_match && !after_match && !kept.empty()) {
          kept.back().begin = segment->range.begin;
        } else {
          kept.push_back(segment->range);
        }
        after_match = segment->is_match;
      }
      std::reverse(kept.begin(), kept.end());
      break;
  }
  std::erase_if(kept, [](const ByteRange& range) { return range.begin >= range.end; });
  return kept;
}

}  // namespace dovetail::tokenizer
