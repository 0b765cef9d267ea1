// SPDX-License-Identifier: Apache-2.0
// Continues prompts with a model package: generate PACKAGE "prompt" ["prompt" ...]
#include <iostream>

#include "dovetail/runtime.h"

// One prompt: the text is printed as it is written. generate() throws dovetail::Error.
void stream(const dovetail::Session& session, const std::string& prompt) {
  for (const std::string& piece : session.generate(prompt, {.max_tokens = 24})) {
    std::cout << piece << std::flush;
  }
  std::cout << '\n';
}

// Several prompts run as one batch. start() and next() return errors as values.
dovetail::Status complete(const dovetail::Session& session, std::vector<std::string> prompts) {
  auto generation = session.start(prompts, {.max_tokens = 24});
  if (!generation.ok()) return generation.status();
  auto piece = generation->next();
  while (piece.ok() && piece->has_value()) piece = generation->next();
  for (const auto& completion : generation->completions()) {
    std::cout << completion.text << '\n';
  }
  return piece.status();
}

int main(int argc, char** argv) try {
  if (argc < 3) throw std::invalid_argument("usage: generate PACKAGE \"prompt\" [\"prompt\" ...]");
  const auto session = dovetail::Session::open(argv[1], {.threads = 2});
  if (!session.ok()) throw dovetail::Error(session.status());
  if (argc == 3) {
    stream(*session, argv[2]);
  } else if (const auto status = complete(*session, {argv + 2, argv + argc}); !status.ok()) {
    throw dovetail::Error(status);
  }
} catch (const std::exception& error) {
  std::cerr << error.what() << '\n';
  return 1;
}
