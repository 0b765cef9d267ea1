// SPDX-License-Identifier: Apache-2.0
// The model runtime: a package of `dovetail export` in, text out.
//
//   auto session = dovetail::Session::open("llama-pkg", {.threads = 4});
//   for (const auto& piece : session->generate("The history of bridges", {.max_tokens = 200})) {
//     std::cout << piece << std::flush;
//   }
//
// Session::open and start() return errors as values. Only the range-for convenience, generate(),
// throws: Error carries the Status. A session serves several generations, also on several threads.
#pragma once

#include <cstddef>
#include <cstdint>
#include <iterator>
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#include "dovetail/status.h"

namespace dovetail {

struct LoadedModel;

struct SessionOptions {
  std::string engine{};     // "onnxruntime"; empty: the one that the package was exported for
  std::string device{};     // "cpu" or "cuda"; empty: the CPU with onnxruntime, else a GPU
  int threads = 0;          // 0: as many as the process may use
  int prefill_chunk = 512;  // prompt tokens per lane and step; bounds the memory of long prompts
  std::string engine_library{};    // path of libonnxruntime.so; empty: search
  std::string operator_library{};  // path of libdovetail_onnxruntime.so; empty: search
};

// The defaults are greedy decoding. Order: repetition penalty, temperature, top-k, top-p, min-p.
struct GenerateOptions {
  int max_tokens = 256;              // per prompt; 0: until the text ends or the capacity is full
  float temperature = 0.0f;          // 0: the most likely token
  int top_k = 0;                     // sample among the k most likely; 0: all
  float top_p = 1.0f;                // ... among the fewest that reach this probability together
  float min_p = 0.0f;                // ... among those with at least this share of the best one's
  float repetition_penalty = 1.0f;   // divides positive logits of tokens that occurred; 1: off
  std::uint64_t seed = 0;            // same seed, same prompts: same text
  std::uint64_t first_sequence = 0;  // number of the first prompt; every (seed, number) has random
                                     // numbers of its own
  std::vector<std::string> stop{};   // a text ends before the first of these
};

enum class FinishReason {
  kRunning,
  kEndOfText,   // one of the model's end-of-text tokens
  kStopString,  // one of GenerateOptions::stop
  kMaxTokens,
  kCapacity,  // the KV cache is full
};
const char* name_of(FinishReason reason);  // "running", "end_of_text", "stop_string", ...

// Text that became final: whole characters, nothing that might still turn into a stop string.
struct Piece {
  std::size_t prompt = 0;  // index of the prompt that it continues
  std::string text{};
};

struct Completion {
  std::string text{};                  // all pieces
  std::vector<std::int32_t> tokens{};  // generated, without the end-of-text token
  std::size_t prompt_tokens = 0;
  FinishReason reason = FinishReason::kRunning;
};

struct Timing {
  double first_token_seconds = 0;  // from start() to the first token of every prompt
  double prefill_seconds = 0;      // the prompts through the model
  double decode_seconds = 0;       // everything behind the first token
  std::size_t prompt_tokens = 0;   // of all prompts
  std::size_t decoded_tokens = 0;  // of all prompts, without each prompt's first
};

// A batch of prompts being continued. Movable; keeps what it needs of the session alive.
class Generation {
 public:
  struct State;
  explicit Generation(std::unique_ptr<State> state);
  Generation(Generation&&) noexcept;
  Generation& operator=(Generation&&) noexcept;
  ~Generation();

  // The next piece of any prompt, or nothing when all are finished. Runs the model when needed.
  Result<std::optional<Piece>> next();

  // One per prompt, complete once next() has returned nothing.
  std::span<const Completion> completions() const;
  const Timing& timing() const;

 private:
  std::unique_ptr<State> state_;
};

// What generate() throws.
class Error : public std::runtime_error {
 public:
  explicit Error(Status status)
      : std::runtime_error(status.message()), status_(std::move(status)) {}
  const Status& status() const { return status_; }

 private:
  Status status_;
};

// The pieces of one prompt as a range that is read once.
class TextStream {
 public:
  class Iterator {
   public:
    using iterator_category = std::input_iterator_tag;
    using value_type = std::string;
    using difference_type = std::ptrdiff_t;
    using pointer = const std::string*;
    using reference = const std::string&;

    const std::string& operator*() const { return stream_->piece_->text; }
    Iterator& operator++() {
      stream_->advance();
      return *this;
    }
    void operator++(int) { stream_->advance(); }
    bool operator==(std::default_sentinel_t) const { return !stream_->piece_.has_value(); }

   private:
    friend class TextStream;
    explicit Iterator(TextStream* stream) : stream_(stream) {}
    TextStream* stream_;
  };

  explicit TextStream(Generation generation) : generation_(std::move(generation)) {}
  Iterator begin() {
    advance();
    return Iterator(this);
  }
  std::default_sentinel_t end() const { return {}; }
  const Generation& generation() const { return generation_; }

 private:
  void advance() {
    Result<std::optional<Piece>> next = generation_.next();
    if (!next.ok()) {
      throw Error(next.status());
    }
    piece_ = std::move(*next);
  }

  Generation generation_;
  std::optional<Piece> piece_;
};

class Session {
 public:
  static Result<Session> open(const std::string& package, const SessionOptions& options = {});

  // Continues every prompt; the lanes run together and may differ in length. All checks that need
  // no model run are made here.
  Result<Generation> start(std::span<const std::string> prompts,
                           const GenerateOptions& options = {}) const;
  // start() of one prompt; throws Error.
  TextStream generate(const std::string& prompt, const GenerateOptions& options = {}) const;

  int capacity() const;   // tokens that prompt and continuation may have together
  int max_batch() const;  // prompts per start()
  // One line: model, weights, engine.
  std::string describe() const;
  const std::shared_ptr<LoadedModel>& model() const { return model_; }

 private:
  explicit Session(std::shared_ptr<LoadedModel> model) : model_(std::move(model)) {}

  std::shared_ptr<LoadedModel> model_;
};

}  // namespace dovetail
