// SPDX-License-Identifier: Apache-2.0
// dovetail-run: text, speed and perplexity of a model package. Results go to standard output,
// everything about the run to standard error. An error is one sentence and exit code 1.
#include <iostream>
#include <utility>
#include <vector>

#include "apps/commands.h"
#include "apps/process.h"

namespace dovetail::apps {

void ModelArguments::add_to(CLI::App& parser) {
  parser.add_option("package", package, "Folder of `dovetail export`, or of `dovetail build`")
      ->required();
  parser.add_option("--engine", session.engine, "Engine; default: the one exported for");
  parser.add_option("--device", session.device, "cpu or cuda; default: cpu with onnxruntime");
  parser.add_option("--threads", session.threads, "Threads; 0: all cores")->capture_default_str();
  parser
      .add_option("--prefill-chunk", session.prefill_chunk,
                  "Prompt tokens per step: less takes less memory")
      ->capture_default_str();
  parser.add_option("--onnxruntime", session.engine_library, "Path of libonnxruntime.so");
  parser.add_flag("--json", json, "Print one JSON document instead of text");
}

namespace {

int fail(const std::string& message) {
  std::cerr << "dovetail-run: " << message << '\n';
  return 1;
}

int run(int argc, char** argv) {
  CLI::App parser(
      "Runs a model package.\n\n"
      "  dovetail-run generate ./llama-pkg \"The history of bridges\" --max-tokens 200\n"
      "  dovetail-run bench ./llama-pkg --prompt-tokens 128,512\n"
      "  dovetail-run perplexity ./llama-pkg held_out.txt",
      "dovetail-run");
  parser.require_subcommand(1);
  CLI::App& generate = *parser.add_subcommand("generate", "Continue one prompt, or a file of them");
  CLI::App& bench = *parser.add_subcommand("bench", "Measure prefill and decode speed");
  CLI::App& perplexity = *parser.add_subcommand("perplexity", "Perplexity of a text file");
  const std::vector<std::pair<CLI::App*, Command>> commands = {
      {&generate, add_generate(generate)},
      {&bench, add_bench(bench)},
      {&perplexity, add_perplexity(perplexity)},
  };
  try {
    parser.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return error.get_exit_code() == 0 ? parser.exit(error) : fail(error.what());
  }
  catch_interrupt();
  for (const auto& [command, function] : commands) {
    if (command->parsed()) {
      const Result<int> result = function();
      return result.ok() ? *result : fail(result.status().message());
    }
  }
  return 0;
}

}  // namespace
}  // namespace dovetail::apps

int main(int argc, char** argv) {
  try {
    return dovetail::apps::run(argc, argv);
  } catch (const std::exception& error) {  // out of memory, a full pipe
    return dovetail::apps::fail(error.what());
  }
}
