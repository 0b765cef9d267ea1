// SPDX-License-Identifier: Apache-2.0
// The commands of dovetail-run. Each adds its arguments to the parser and gives back what runs it:
// a function that returns the exit code, or the Status whose message the program prints.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <string>

#include "dovetail/runtime.h"

namespace dovetail::apps {

using Command = std::function<Result<int>()>;

Command add_generate(CLI::App& parser);
Command add_bench(CLI::App& parser);
Command add_perplexity(CLI::App& parser);

// What every command takes.
struct ModelArguments {
  std::string package;
  SessionOptions session;
  bool json = false;

  void add_to(CLI::App& parser);
};

}  // namespace dovetail::apps
