// SPDX-License-Identifier: Apache-2.0
// See stop_strings.h. Between calls held_ is the longest suffix of the text that begins a stop
// string; stop strings are few and short, so they are simply compared at every byte.
#include "runtime/stop_strings.h"

#include <algorithm>
#include <utility>

#include "ops/message.h"

namespace dovetail {

Result<StopStrings> StopStrings::create(std::vector<std::string> stops) {
  if (std::find(stops.begin(), stops.end(), "") != stops.end()) {
    return invalid_argument("stop strings: one is empty, expected at least one character each");
  }
  return StopStrings(std::move(stops));
}

// Length of the longest stop string that held_ ends with, or 0.
size_t StopStrings::complete_length() const {
  size_t longest = 0;
  for (const std::string& stop : stops_) {
    if (held_.ends_with(stop)) longest = std::max(longest, stop.size());
  }
  return longest;
}

// Length of the longest suffix of held_ that is the beginning, but not the whole, of a stop string.
size_t StopStrings::started_length() const {
  size_t longest = 0;
  for (const std::string& stop : stops_) {
    size_t length = std::min(stop.size() - 1, held_.size());
    while (length > longest && !held_.ends_with(std::string_view(stop).substr(0, length))) --length;
    longest = std::max(longest, length);
  }
  return longest;
}

std::string StopStrings::push(std::string_view piece) {
  std::string shown;
  for (const char byte : piece) {
    if (stopped_) break;
    held_ += byte;
    const size_t stop = complete_length();
    const size_t kept = stop > 0 ? stop : started_length();
    shown.append(held_, 0, held_.size() - kept);
    held_.erase(0, held_.size() - kept);
    if (stop > 0) {
      stopped_ = true;
      held_.clear();
    }
  }
  return shown;
}

std::string StopStrings::finish() {
  return std::exchange(held_, {});
}

}  // namespace dovetail
