// SPDX-License-Identifier: Apache-2.0
// threads_probe PACKAGE DEVICE PROMPT ...: one session, one generation per prompt, all at once on
// threads of their own. Prints each continuation of 24 greedy tokens on a line, in the prompts'
// order. tests/python/test_run.py and, on a GPU, tests/gpu/onnxruntime_cuda.py compare them with the
// continuations of single runs.
#include <iostream>
#include <string>
#include <thread>
#include <vector>

#include "dovetail/runtime.h"

namespace {

std::string continuation(const dovetail::Session& session, const std::string& prompt) {
  std::string text;
  for (const std::string& piece : session.generate(prompt, {.max_tokens = 24})) text += piece;
  return text;
}

}  // namespace

int main(int argc, char** argv) {
  const auto session = dovetail::Session::open(argv[1], {.device = argv[2], .threads = 2});
  if (!session.ok()) {
    std::cerr << session.status().message() << '\n';
    return 1;
  }
  std::vector<std::string> texts(static_cast<std::size_t>(argc - 3));
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < texts.size(); ++i) {
    threads.emplace_back([&, i] { texts[i] = continuation(*session, argv[i + 3]); });
  }
  for (std::thread& thread : threads) thread.join();
  for (const std::string& text : texts) std::cout << text << '\n';
  return 0;
}
