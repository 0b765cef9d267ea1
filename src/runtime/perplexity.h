// SPDX-License-Identifier: Apache-2.0
// Perplexity of a text: exp of the mean negative log-likelihood of its tokens, with the definition
// of tests/oracle/record_tiny.py. The tokens are encoded without special tokens and cut into
// pieces; each is run alone as BOS + piece, at most `window` positions, from position 0.
//
// `stride` new tokens count per piece: window - 1 (the default) puts the pieces side by side; less
// makes them overlap, so that every counted token but the first piece's has at least window - 1 -
// stride tokens of context. Without a BOS token, a piece has `window` tokens and its first one does
// not count.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>

#include "runtime/loaded_model.h"

namespace dovetail {

struct PerplexityOptions {
  std::int64_t window = 256;
  std::int64_t stride = 0;      // 0: side by side
  std::int64_t batch = 1;       // pieces that run together
  std::int64_t max_pieces = 0;  // stop after these; 0: the whole text
};

struct PerplexityReport {
  double perplexity = 0;
  std::int64_t tokens = 0;          // of the text
  std::int64_t counted_tokens = 0;  // that were predicted
  std::int64_t pieces = 0;
};

Result<PerplexityReport> measure_perplexity(const std::shared_ptr<LoadedModel>& model,
                                            std::string_view text,
                                            const PerplexityOptions& options);

}  // namespace dovetail
