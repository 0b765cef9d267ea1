// SPDX-License-Identifier: Apache-2.0
#include "runtime/loaded_model.h"

#include <sched.h>

#include <algorithm>
#include <future>
#include <thread>
#include <utility>

#include "ops/message.h"

namespace dovetail {
namespace {

// The cores that this process may run on; a container often has fewer than the machine.
int available_cores() {
  cpu_set_t cores;
  CPU_ZERO(&cores);
  if (::sched_getaffinity(0, sizeof cores, &cores) == 0) {
    return std::max(1, CPU_COUNT(&cores));
  }
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

}  // namespace

Result<std::shared_ptr<LoadedModel>> LoadedModel::open(const std::string& folder,
                                                       const SessionOptions& options) {
  if (options.threads < 0 || options.threads > 1024) {
    return invalid_argument("threads is ", options.threads, ", expected 1 to 1024, or 0 for all");
  }
  if (options.prefill_chunk < 1) {
    return invalid_argument("prefill_chunk is ", options.prefill_chunk, ", expected at least 1");
  }
  Result<Package> package = Package::open(folder);
  if (!package.ok()) {
    return package.status();
  }
  const std::int64_t max_input = package->manifest.max_input;
  // The tokenizer's tables take longer than the weights, which are only mapped.
  std::future<Result<tokenizer::Tokenizer>> loading = std::async(
      std::launch::async, &tokenizer::Tokenizer::load, package->file("tokenizer.json").string());
  auto model = std::make_shared<LoadedModel>(std::move(*package), options);
  if (max_input > 0) {  // what the engine was built for
    model->options.prefill_chunk =
        static_cast<int>(std::min<std::int64_t>(options.prefill_chunk, max_input));
  }
  if (model->options.device.empty()) {
    model->options.device = model->package.manifest.engine == "onnxruntime" ? "cpu" : "cuda";
  }
  if (model->options.threads == 0) {
    model->options.threads = available_cores();
  }
  Result<std::unique_ptr<Engine>> engine =
      open_engine(model->package, {.name = options.engine,
                                   .device = options.device,
                                   .threads = model->options.threads,
                                   .engine_library = options.engine_library,
                                   .operator_library = options.operator_library});
  Result<tokenizer::Tokenizer> tokens = loading.get();
  if (!tokens.ok() || !engine.ok()) {
    return tokens.ok() ? engine.status() : tokens.status();
  }
  model->engine = std::move(*engine);
  model->tokenizer = std::move(*tokens);
  return model;
}

Result<LoadedModel::DecoderHandle> LoadedModel::borrow_decoder(
    const std::shared_ptr<LoadedModel>& model, std::int64_t batch) {
  const std::int64_t limit = model->package.manifest.max_batch;
  if (batch < 1 || batch > limit) {
    return invalid_argument("a batch of ", batch, " prompts, expected 1 to ", limit,
                            ", the max_batch that the package was exported with");
  }
  std::unique_ptr<Decoder> decoder;
  {
    const std::lock_guard lock(model->mutex_);
    const auto same = std::find_if(model->idle_.begin(), model->idle_.end(),
                                   [&](const auto& idle) { return idle->batch() == batch; });
    if (same != model->idle_.end()) {
      decoder = std::move(*same);
      model->idle_.erase(same);
    }
  }
  if (decoder == nullptr) {
    Result<std::unique_ptr<EngineContext>> context = model->engine->make_context(batch);
    if (!context.ok()) {
      return context.status();
    }
    decoder = std::make_unique<Decoder>(model->package, std::move(*context));
  }
  decoder->reset();
  return DecoderHandle(decoder.release(), [model, batch](Decoder* returned) {
    std::unique_ptr<Decoder> owner(returned);
    const std::lock_guard lock(model->mutex_);
    const bool kept = std::any_of(model->idle_.begin(), model->idle_.end(),
                                  [&](const auto& idle) { return idle->batch() == batch; });
    if (!kept) {
      model->idle_.push_back(std::move(owner));
    }
  });
}

}  // namespace dovetail
