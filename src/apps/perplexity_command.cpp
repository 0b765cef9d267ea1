// SPDX-License-Identifier: Apache-2.0
// dovetail-run perplexity: how well the package predicts a text, as runtime/perplexity.h defines.
#include "runtime/perplexity.h"

#include <iomanip>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>

#include "apps/commands.h"
#include "runtime/memory_map.h"

namespace dovetail::apps {
namespace {

struct Arguments {
  ModelArguments model;
  std::string text_file;
  PerplexityOptions options;
};

Result<int> run(const Arguments& args) {
  Result<MemoryMap> text = MemoryMap::open(args.text_file);
  if (!text.ok()) {
    return text.status();
  }
  Result<std::shared_ptr<LoadedModel>> model =
      LoadedModel::open(args.model.package, args.model.session);
  if (!model.ok()) {
    return model.status();
  }
  Result<PerplexityReport> report = measure_perplexity(
      *model, {reinterpret_cast<const char*>(text->bytes().data()), text->bytes().size()},
      args.options);
  if (!report.ok()) {
    return report.status();
  }
  if (args.model.json) {
    const nlohmann::ordered_json json = {{"perplexity", report->perplexity},
                                         {"tokens", report->tokens},
                                         {"counted_tokens", report->counted_tokens},
                                         {"pieces", report->pieces},
                                         {"window", args.options.window}};
    std::cout << json.dump(2) << '\n';
  } else {
    std::cout << "perplexity " << std::fixed << std::setprecision(4) << report->perplexity
              << " over " << report->counted_tokens << " tokens in " << report->pieces
              << " pieces\n";
  }
  return 0;
}

}  // namespace

Command add_perplexity(CLI::App& parser) {
  auto args = std::make_shared<Arguments>();
  args->model.add_to(parser);
  PerplexityOptions& options = args->options;
  parser.add_option("text", args->text_file, "Text file")->required();
  parser.add_option("--window", options.window, "Positions per piece, BOS included")
      ->capture_default_str();
  parser.add_option("--stride", options.stride, "New tokens per piece; 0: pieces side by side")
      ->capture_default_str();
  parser.add_option("--batch", options.batch, "Pieces that run together")->capture_default_str();
  parser.add_option("--max-pieces", options.max_pieces, "Stop after these; 0: the whole text")
      ->capture_default_str();
  return [args] { return run(*args); };
}

}  // namespace dovetail::apps
