// SPDX-License-Identifier: Apache-2.0
// sampler_probe: lets tests/python/test_sampler.py look at the distribution behind the sampler. One
// JSON request per line of stdin, one JSON answer per line of stdout.
//   {"logits": [number or null for -inf], "history": [...], "temperature": t, "top_k": k,
//    "top_p": p, "min_p": m, "repetition_penalty": r}
//   -> {"ids": [...], "probabilities": [...]} or {"error": message}
#include <iostream>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "runtime/sampler.h"

namespace {

using Json = nlohmann::json;

Json answer(const Json& request) {
  auto sampler = dovetail::Sampler::create({
      .temperature = request.at("temperature"),
      .top_k = request.at("top_k"),
      .top_p = request.at("top_p"),
      .min_p = request.at("min_p"),
      .repetition_penalty = request.at("repetition_penalty"),
  });
  if (!sampler.ok()) return {{"error", sampler.status().message()}};
  std::vector<float> logits;
  for (const Json& logit : request.at("logits")) {
    logits.push_back(logit.is_null() ? -std::numeric_limits<float>::infinity()
                                     : logit.get<float>());
  }
  const auto kept =
      sampler->distribution(logits, request.at("history").get<std::vector<int32_t>>());
  if (!kept.ok()) return {{"error", kept.status().message()}};
  Json ids = Json::array();
  Json probabilities = Json::array();
  for (const dovetail::Candidate& candidate : *kept) {
    ids.push_back(candidate.id);
    probabilities.push_back(candidate.probability);
  }
  return {{"ids", ids}, {"probabilities", probabilities}};
}

}  // namespace

int main() {
  for (std::string line; std::getline(std::cin, line);) {
    std::cout << answer(Json::parse(line)).dump() << "\n";
  }
  return 0;
}
