// SPDX-License-Identifier: Apache-2.0
#include "runtime/perplexity.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "ops/message.h"

namespace dovetail {
namespace {

// One call: `tokens` go through the model, and each of the last `counted` ones is predicted from
// what is before it.
struct TextPiece {
  std::vector<std::int32_t> tokens;
  std::size_t counted = 0;
};

std::vector<TextPiece> cut(const std::vector<std::int32_t>& tokens, std::optional<std::int32_t> bos,
                           std::size_t window, std::size_t stride) {
  const std::size_t width = window - (bos ? 1 : 0);  // text tokens per piece
  std::vector<TextPiece> pieces;
  for (std::size_t end = 0, done = 0; done < tokens.size(); done = end) {
    end = std::min(tokens.size(), done == 0 ? width : done + stride);
    const std::size_t begin = end > width ? end - width : 0;
    // A piece at the end of the text that is not full starts where the one before it ended.
    const std::size_t from = stride >= width ? done : begin;
    TextPiece piece{.tokens = {tokens.begin() + static_cast<std::ptrdiff_t>(from),
                               tokens.begin() + static_cast<std::ptrdiff_t>(end)}};
    if (bos) {
      piece.tokens.insert(piece.tokens.begin(), *bos);
    }
    piece.counted = end - done - (!bos && from == done ? 1 : 0);
    pieces.push_back(std::move(piece));
  }
  return pieces;
}

// -log softmax(row)[target], in double: the sum over a long text keeps its digits.
double negative_log_likelihood(std::span<const float> row, std::int32_t target) {
  const double top = *std::max_element(row.begin(), row.end());
  double sum = 0;
  for (const float logit : row) {
    sum += std::exp(static_cast<double>(logit) - top);
  }
  return std::log(sum) + top - static_cast<double>(row[static_cast<std::size_t>(target)]);
}

double loss_of(const TextPiece& piece, std::span<const float> rows, std::size_t vocabulary) {
  double loss = 0;
  for (std::size_t at = piece.tokens.size() - piece.counted; at < piece.tokens.size(); ++at) {
    loss +=
        negative_log_likelihood(rows.subspan((at - 1) * vocabulary, vocabulary), piece.tokens[at]);
  }
  return loss;
}

}  // namespace

Result<PerplexityReport> measure_perplexity(const std::shared_ptr<LoadedModel>& model,
                                            std::string_view text,
                                            const PerplexityOptions& options) {
  const Manifest& m = model->package.manifest;
  if (options.window < 2 || options.window > m.capacity) {
    return invalid_argument("window is ", options.window, ", expected 2 to the capacity of the ",
                            "package, ", m.capacity);
  }
  if (options.stride < 0 || options.stride >= options.window) {
    return invalid_argument("stride is ", options.stride,
                            ", expected 1 to window - 1 = ", options.window - 1);
  }
  Result<std::vector<std::int32_t>> tokens = model->tokenizer->encode(text, false);
  if (!tokens.ok()) {
    return tokens.status();
  }
  const std::int64_t stride = options.stride > 0           ? options.stride
                              : m.bos_token_id.has_value() ? options.window - 1
                                                           : options.window;
  std::vector<TextPiece> pieces =
      cut(*tokens, m.bos_token_id, static_cast<std::size_t>(options.window),
          static_cast<std::size_t>(stride));
  if (options.max_pieces > 0) {
    pieces.resize(std::min(pieces.size(), static_cast<std::size_t>(options.max_pieces)));
  }
  Result<LoadedModel::DecoderHandle> handle = LoadedModel::borrow_decoder(model, options.batch);
  if (!handle.ok()) {
    return handle.status();
  }
  Decoder& decoder = **handle;
  const auto vocabulary = static_cast<std::size_t>(m.model.vocab_size);
  const auto lanes = static_cast<std::size_t>(options.batch);
  double loss = 0;
  PerplexityReport report{.tokens = static_cast<std::int64_t>(tokens->size()),
                          .pieces = static_cast<std::int64_t>(pieces.size())};
  std::vector<TokenSpan> spans(lanes);
  for (std::size_t first = 0; first < pieces.size(); first += lanes) {
    const std::size_t count = std::min(lanes, pieces.size() - first);
    std::size_t longest = 0;
    for (std::size_t lane = 0; lane < lanes; ++lane) {
      spans[lane] = lane < count ? TokenSpan(pieces[first + lane].tokens) : TokenSpan();
      longest = std::max(longest, spans[lane].size());
    }
    decoder.reset();
    Result<std::span<const float>> logits = decoder.step(spans, LogitRows::kAll);
    if (!logits.ok()) {
      return logits.status();
    }
    const std::size_t lane_rows = longest * vocabulary;
    for (std::size_t lane = 0; lane < count; ++lane) {
      loss +=
          loss_of(pieces[first + lane], logits->subspan(lane * lane_rows, lane_rows), vocabulary);
      report.counted_tokens += static_cast<std::int64_t>(pieces[first + lane].counted);
    }
  }
  if (report.counted_tokens == 0) {
    return invalid_argument("the text has ", tokens->size(), " tokens, too few for a perplexity");
  }
  if (!std::isfinite(loss)) {
    return data_loss("the model's logits are not finite: the weights in ",
                     model->package.folder.string(), " are damaged");
  }
  report.perplexity = std::exp(loss / static_cast<double>(report.counted_tokens));
  return report;
}

}  // namespace dovetail
