// SPDX-License-Identifier: Apache-2.0
// tokenizer_probe TOKENIZER_JSON: lets tests/python/test_tokenizer.py drive the C++ tokenizer. One
// JSON request per line of stdin, one JSON answer per line of stdout; texts travel as base64
// because they may hold any bytes.
//   {"op": "encode", "text": BASE64, "special": bool} -> {"ids": [...]}
//   {"op": "decode", "ids": [...], "skip": bool}      -> {"text": BASE64, "pieces": [BASE64, ...]}
//   {"op": "describe"}                                -> {"vocabulary_size": n}
// "pieces" are the texts of Detokenizer::push for each id and of finish(). A failure is
// {"error": message}.
#include <cstdint>
#include <iostream>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/tokenizer/tokenizer.h"

namespace {

using Json = nlohmann::json;
using dovetail::tokenizer::Detokenizer;
using dovetail::tokenizer::Tokenizer;

constexpr std::string_view kBase64 =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

std::string to_base64(std::string_view bytes) {
  std::string out;
  for (size_t i = 0; i < bytes.size(); i += 3) {
    const size_t count = std::min<size_t>(3, bytes.size() - i);
    uint32_t group = 0;
    for (size_t j = 0; j < 3; ++j) {
      group = (group << 8) | (j < count ? static_cast<uint8_t>(bytes[i + j]) : 0u);
    }
    for (size_t j = 0; j < 4; ++j) {
      out += j <= count ? kBase64[(group >> (18 - 6 * j)) & 63] : '=';
    }
  }
  return out;
}

std::string from_base64(std::string_view text) {
  std::string out;
  uint32_t bits = 0;
  int count = 0;
  for (const char letter : text) {
    if (letter == '=') break;
    bits = (bits << 6) | static_cast<uint32_t>(kBase64.find(letter));
    count += 6;
    if (count >= 8) {
      count -= 8;
      out += static_cast<char>((bits >> count) & 0xFF);
    }
  }
  return out;
}

Json answer(const Tokenizer& tokenizer, const Json& request) {
  const auto op = request.at("op").get<std::string>();
  if (op == "describe") return {{"vocabulary_size", tokenizer.vocabulary_size()}};
  if (op == "encode") {
    const auto ids =
        tokenizer.encode(from_base64(request.at("text").get<std::string>()), request.at("special"));
    if (!ids.ok()) return {{"error", ids.status().message()}};
    return {{"ids", *ids}};
  }
  const auto ids = request.at("ids").get<std::vector<int32_t>>();
  const bool skip = request.at("skip");
  Json pieces = Json::array();
  Detokenizer detokenizer(tokenizer, skip);
  for (const int32_t id : ids) pieces.push_back(to_base64(detokenizer.push(id)));
  pieces.push_back(to_base64(detokenizer.finish()));
  return {{"text", to_base64(tokenizer.decode(ids, skip))}, {"pieces", pieces}};
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::cerr << "usage: tokenizer_probe TOKENIZER_JSON < requests > answers\n";
    return 2;
  }
  const auto tokenizer = Tokenizer::load(argv[1]);
  if (!tokenizer.ok()) {
    std::cerr << tokenizer.status().message() << "\n";
    return 1;
  }
  for (std::string line; std::getline(std::cin, line);) {
    std::cout << answer(*tokenizer, Json::parse(line)).dump() << "\n";
  }
  return 0;
}
