// SPDX-License-Identifier: Apache-2.0
// Everything that is loaded once and shared by all generations of a session. Decoders, that is KV
// caches, are kept when a generation is done and given to the next one of the same batch size.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "dovetail/runtime.h"
#include "runtime/decoder.h"
#include "runtime/engine.h"
#include "runtime/package.h"
#include "runtime/tokenizer/tokenizer.h"

namespace dovetail {

struct LoadedModel {
  LoadedModel(Package opened, const SessionOptions& session)
      : package(std::move(opened)), options(session) {}

  // What `options` left open is resolved: threads, device, the engine's limit of prefill_chunk.
  static Result<std::shared_ptr<LoadedModel>> open(const std::string& folder,
                                                   const SessionOptions& options);

  // An empty decoder; it goes back to the model when the handle dies, and keeps the model alive.
  using DecoderHandle = std::unique_ptr<Decoder, std::function<void(Decoder*)>>;
  static Result<DecoderHandle> borrow_decoder(const std::shared_ptr<LoadedModel>& model,
                                              std::int64_t batch);

  const Package package;                          // the engine binds its mapped tables
  std::optional<tokenizer::Tokenizer> tokenizer;  // there when open() has returned
  SessionOptions options;
  std::unique_ptr<Engine> engine;

 private:
  std::mutex mutex_;
  std::vector<std::unique_ptr<Decoder>> idle_;  // at most one per batch size
};

}  // namespace dovetail
