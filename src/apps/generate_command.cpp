// SPDX-License-Identifier: Apache-2.0
// dovetail-run generate: one prompt is streamed as it is written; the prompts of a file run as
// batches, and each text is printed when its batch is done.
#include <algorithm>
#include <cstdio>
#include <fstream>
#include <iomanip>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <span>

#include "apps/commands.h"
#include "apps/process.h"
#include "ops/message.h"

namespace dovetail::apps {
namespace {

using Json = nlohmann::ordered_json;

struct Arguments {
  ModelArguments model;
  std::string prompt;
  std::string prompt_file;
  GenerateOptions generate;
};

// Prompts of a file, one a line; empty lines are left out.
Result<std::vector<std::string>> read_lines(const std::string& path) {
  std::ifstream file;
  if (path != "-") {
    file.open(path, std::ios::binary);
    if (!file) {
      return not_found("cannot open the prompt file ", path);
    }
  }
  std::istream& in = path == "-" ? std::cin : file;
  std::vector<std::string> lines;
  for (std::string line; std::getline(in, line);) {
    if (!line.empty() && line.back() == '\r') {
      line.pop_back();
    }
    if (!line.empty()) {
      lines.push_back(std::move(line));
    }
  }
  if (lines.empty()) {
    return invalid_argument("the prompt file ", path, " has no prompt, expected one a line");
  }
  return lines;
}

double rate(std::size_t tokens, double seconds) {
  return seconds > 0 ? static_cast<double>(tokens) / seconds : 0.0;
}

void print_timing(const Timing& t) {
  std::cerr << std::fixed << std::setprecision(3) << "prompt: " << t.prompt_tokens << " tokens in "
            << t.prefill_seconds << " s (" << std::setprecision(1)
            << rate(t.prompt_tokens, t.prefill_seconds) << " tokens/s), first token after "
            << std::setprecision(3) << t.first_token_seconds << " s; decode: " << t.decoded_tokens
            << " tokens in " << t.decode_seconds << " s (" << std::setprecision(1)
            << rate(t.decoded_tokens, t.decode_seconds) << " tokens/s)\n";
}

Json to_json(const Timing& t) {
  return {{"first_token_seconds", t.first_token_seconds},
          {"prompt_tokens", t.prompt_tokens},
          {"prefill_seconds", t.prefill_seconds},
          {"prefill_tokens_per_second", rate(t.prompt_tokens, t.prefill_seconds)},
          {"decoded_tokens", t.decoded_tokens},
          {"decode_seconds", t.decode_seconds},
          {"decode_tokens_per_second", rate(t.decoded_tokens, t.decode_seconds)}};
}

Json to_json(const std::string& prompt, const Completion& completion) {
  return {{"prompt", prompt},
          {"text", completion.text},
          {"finish_reason", name_of(completion.reason)},
          {"prompt_tokens", completion.prompt_tokens},
          {"tokens", completion.tokens}};
}

std::string dump(const Json& json) {
  return json.dump(2, ' ', false, Json::error_handler_t::replace);
}

void add(Timing& total, const Timing& t) {
  if (total.prompt_tokens == 0) {
    total.first_token_seconds = t.first_token_seconds;
  }
  total.prefill_seconds += t.prefill_seconds;
  total.decode_seconds += t.decode_seconds;
  total.prompt_tokens += t.prompt_tokens;
  total.decoded_tokens += t.decoded_tokens;
}

Result<int> run(const Arguments& args) {
  if (!args.prompt_file.empty() && !args.prompt.empty()) {
    return invalid_argument("both a prompt and --prompt-file were given, expected one of them");
  }
  std::vector<std::string> prompts{args.prompt};
  if (!args.prompt_file.empty()) {
    Result<std::vector<std::string>> lines = read_lines(args.prompt_file);
    if (!lines.ok()) {
      return lines.status();
    }
    prompts = std::move(*lines);
  }
  Result<Session> session = Session::open(args.model.package, args.model.session);
  if (!session.ok()) {
    return session.status();
  }
  const bool streaming = args.prompt_file.empty() && !args.model.json;
  Json results = Json::array();
  Timing total;
  const auto batch = static_cast<std::size_t>(session->max_batch());
  for (std::size_t first = 0; first < prompts.size() && !interrupted(); first += batch) {
    const auto group = std::span(prompts).subspan(first, std::min(batch, prompts.size() - first));
    GenerateOptions options = args.generate;
    options.first_sequence = first;
    Result<Generation> generation = session->start(group, options);
    if (!generation.ok()) {
      return generation.status();
    }
    while (!interrupted() && std::cout) {
      Result<std::optional<Piece>> piece = generation->next();
      if (!piece.ok()) {
        return piece.status();
      }
      if (!piece->has_value()) {
        break;
      }
      if (streaming) {
        std::cout << (*piece)->text << std::flush;
      }
    }
    for (std::size_t i = 0; i < group.size(); ++i) {
      const Completion& completion = generation->completions()[i];
      if (args.model.json) {
        results.push_back(to_json(group[i], completion));
      } else {
        std::cout << (streaming ? "" : completion.text) << '\n';
      }
    }
    add(total, generation->timing());
  }
  if (args.model.json) {
    std::cout << dump({{"completions", results}, {"timing", to_json(total)}}) << '\n';
  } else {
    std::cout.flush();
    print_timing(total);
  }
  return interrupted() ? kInterruptedExitCode : 0;
}

}  // namespace

Command add_generate(CLI::App& parser) {
  auto args = std::make_shared<Arguments>();
  args->model.add_to(parser);
  GenerateOptions& g = args->generate;
  parser.add_option("prompt", args->prompt, "Text to continue");
  parser.add_option("--prompt-file", args->prompt_file, "Prompts, one a line; -: standard input");
  parser.add_option("--max-tokens", g.max_tokens, "Per prompt; 0: until the text ends")
      ->capture_default_str();
  parser.add_option("--temperature", g.temperature, "0: greedy")->capture_default_str();
  parser.add_option("--top-k", g.top_k, "Among the k most likely; 0: all")->capture_default_str();
  parser.add_option("--top-p", g.top_p, "Among those that reach this probability together")
      ->capture_default_str();
  parser
      .add_option("--min-p", g.min_p, "Among those with this share of the best one's probability")
      ->capture_default_str();
  parser.add_option("--repetition-penalty", g.repetition_penalty, "1: off")->capture_default_str();
  parser.add_option("--seed", g.seed, "Same seed, same text")->capture_default_str();
  parser.add_option("--stop", g.stop, "End before this text; may be given several times")
      ->allow_extra_args(false);
  return [args] { return run(*args); };
}

}  // namespace dovetail::apps
