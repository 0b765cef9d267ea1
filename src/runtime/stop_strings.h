// SPDX-License-Identifier: Apache-2.0
// Ends a generation at the first of a set of strings, which may be spread over several tokens. Text
// that could still become a stop string is held back until it is one (then it is dropped) or cannot
// be one any more (then it comes out). The result does not depend on how the text is cut into
// pieces: the stop string that is complete first counts, of several that end together the longest.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "dovetail/status.h"

namespace dovetail {

class StopStrings {
 public:
  StopStrings() = default;  // nothing stops
  // An empty stop string is an error.
  static Result<StopStrings> create(std::vector<std::string> stops);

  // Takes the next piece of text and returns what can be shown now. Nothing comes out after a stop.
  std::string push(std::string_view piece);
  // The text held back, once no more will come.
  std::string finish();
  bool stopped() const { return stopped_; }

 private:
  explicit StopStrings(std::vector<std::string> stops) : stops_(std::move(stops)) {}

  size_t complete_length() const;
  size_t started_length() const;

  std::vector<std::string> stops_;
  std::string held_;
  bool stopped_ = false;
};

}  // namespace dovetail
