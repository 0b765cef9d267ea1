// SPDX-License-Identifier: Apache-2.0
#include "dovetail/runtime.h"
#include "ops/message.h"
#include "runtime/generation.h"
#include "runtime/loaded_model.h"

namespace dovetail {

const char* name_of(FinishReason reason) {
  switch (reason) {
    case FinishReason::kRunning:
      return "running";
    case FinishReason::kEndOfText:
      return "end_of_text";
    case FinishReason::kStopString:
      return "stop_string";
    case FinishReason::kMaxTokens:
      return "max_tokens";
    case FinishReason::kCapacity:
      return "capacity";
  }
  return "unknown";
}

Generation::Generation(std::unique_ptr<State> state) : state_(std::move(state)) {}
Generation::Generation(Generation&&) noexcept = default;
Generation& Generation::operator=(Generation&&) noexcept = default;
Generation::~Generation() = default;

Result<std::optional<Piece>> Generation::next() {
  return state_->next();
}
std::span<const Completion> Generation::completions() const {
  return state_->completions;
}
const Timing& Generation::timing() const {
  return state_->timing;
}

Result<Session> Session::open(const std::string& package, const SessionOptions& options) {
  Result<std::shared_ptr<LoadedModel>> model = LoadedModel::open(package, options);
  if (!model.ok()) {
    return model.status();
  }
  return Session(std::move(*model));
}

Result<Generation> Session::start(std::span<const std::string> prompts,
                                  const GenerateOptions& options) const {
  Result<std::unique_ptr<Generation::State>> state =
      Generation::State::create(model_, prompts, options);
  if (!state.ok()) {
    return state.status();
  }
  return Generation(std::move(*state));
}

TextStream Session::generate(const std::string& prompt, const GenerateOptions& options) const {
  Result<Generation> generation = start({&prompt, 1}, options);
  if (!generation.ok()) {
    throw Error(generation.status());
  }
  return TextStream(std::move(*generation));
}

int Session::capacity() const {
  return static_cast<int>(model_->package.manifest.capacity);
}

int Session::max_batch() const {
  return static_cast<int>(model_->package.manifest.max_batch);
}

std::string Session::describe() const {
  const Manifest& m = model_->package.manifest;
  return concat(m.model.family, ", ", m.model.layers, " layers, ", m.weights, " weights, ",
                m.activation_type, " activations, ", m.kv_type, " KV cache of ", m.capacity,
                " tokens; ", model_->engine->describe());
}

}  // namespace dovetail
