// SPDX-License-Identifier: Apache-2.0
// A stand-in for TensorRT's runtime library: what it insists on, without a network. An engine file
// is JSON (engine_file in tensorrt_engine_test.cpp). A context refuses what TensorRT refuses, with
// a sentence in the logger: unknown names, shapes outside of the profile, a missing shape or
// address, addresses that are no GPU memory of the tensor's size, a present that is not its past.
//
// The network is that of scripted_engine.h, computed from the bound memory alone: layer i keeps
// token id + i in the first element of slot s, [b, 0, 0, s, 0] of [B, 2, Hk, C, D], and
// inputs_embeds starts with the id. Everything is fp16 but the logits.
#include <NvInferRuntime.h>
#include <dlfcn.h>

#include <algorithm>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <numeric>
#include <string>

#include "layout/narrow_float.h"
#include "ops/attention_lane.h"
#include "runtime/fake_cudart.h"
#include "runtime/scripted_next.h"
#include "runtime/tensorrt_standin/standin.h"

namespace dovetail::standin {

std::vector<EnqueuedStep>& steps() {
  static std::vector<EnqueuedStep> all;
  return all;
}

namespace {

using Json = nlohmann::json;
using nvinfer1::Dims;
using nvinfer1::ILogger;
using Half = std::uint16_t;

std::int64_t count(const Dims& dims) {
  return std::accumulate(dims.d, dims.d + dims.nbDims, std::int64_t{1}, std::multiplies<>());
}

struct Binding {
  Dims shape{-1, {}};
  void* data = nullptr;
};

class Context final : public nvinfer1::IExecutionContext {
 public:
  Context(const Json& facts, ILogger& logger) : facts_(facts), logger_(logger) {}

  bool setOptimizationProfileAsync(std::int32_t index, cudaStream_t stream) noexcept override {
    profile_ = index;
    return stream != nullptr && index < facts_["profiles"];
  }

  void setDeviceMemoryV2(void* memory, std::int64_t bytes) noexcept override {
    scratch_ = memory;
    scratch_bytes_ = bytes;
  }

  bool setInputShape(const char* name, const Dims& dims) noexcept override {
    const auto range = facts_["inputs"].find(name);
    if (range == facts_["inputs"].end()) {
      return refuse("no input " + std::string(name));
    }
    const Json& largest = (*range)[static_cast<std::size_t>(std::max(profile_, 0))];
    bool inside = profile_ >= 0 && largest.size() == static_cast<std::size_t>(dims.nbDims);
    for (std::size_t i = 0; inside && i < largest.size(); ++i) {
      inside = dims.d[i] >= 0 && dims.d[i] <= largest[i].get<std::int64_t>();
    }
    if (inside) {
      tensors_[name].shape = dims;
    }
    return inside || refuse(std::string(name) + " is outside of profile " +
                            std::to_string(profile_) + ", at most " + largest.dump());
  }

  bool setTensorAddress(const char* name, void* data) noexcept override {
    const Json& outputs = facts_["outputs"];
    if (!facts_["inputs"].contains(name) &&
        std::find(outputs.begin(), outputs.end(), name) == outputs.end()) {
      return refuse("no tensor " + std::string(name));
    }
    tensors_[name].data = data;
    return true;
  }

  bool enqueueV3(cudaStream_t stream) noexcept override {
    if (const std::string failure = facts_["failure"]; !failure.empty()) {
      refuse(failure);
      return refuse("IExecutionContext::enqueueV3: internal error");  // TensorRT adds its own
    }
    const std::int64_t scratch = facts_["scratch"][static_cast<std::size_t>(profile_)];
    if (stream == nullptr || scratch_bytes_ < scratch ||
        !fake_cuda_on_device(scratch_, static_cast<std::size_t>(scratch))) {
      return refuse("no stream, or too little device memory");
    }
    for (const auto& [name, range] : facts_["inputs"].items()) {
      const Binding& input = tensors_[name];
      const bool halves = name == "inputs_embeds" || name.starts_with("past");
      const std::size_t element = halves ? 2 : name == "last_token_ids" ? 8 : 4;
      if (input.shape.nbDims < 0 || input.data == nullptr) {
        return refuse(name + " has no shape or no address");
      }
      if (!fake_cuda_on_device(input.data,
                               static_cast<std::size_t>(count(input.shape)) * element)) {
        return refuse(name + " is bound to less than its shape needs");
      }
    }
    return aliased() && run();
  }

 private:
  bool refuse(const std::string& message) {
    logger_.log(ILogger::Severity::kERROR, message.c_str());
    return false;
  }

  std::int64_t fact(const char* name) const { return facts_[name]; }

  Half* cache(std::int64_t layer) {
    return static_cast<Half*>(tensors_["past_key_values_" + std::to_string(layer)].data);
  }

  bool aliased() {
    for (std::int64_t layer = 0; layer < fact("layers"); ++layer) {
      const std::string present = "present_key_values_" + std::to_string(layer);
      if (tensors_[present].data != cache(layer)) {
        return refuse(present + " is not bound to the memory of its past");
      }
    }
    return true;
  }

  // The slot's element in a layer's cache.
  std::size_t slot(std::int64_t lane, std::int64_t position) const {
    const std::int64_t lane_elements = 2 * fact("kv_heads") * fact("capacity") * fact("head_size");
    return static_cast<std::size_t>(lane * lane_elements + position * fact("head_size"));
  }

  bool run() {
    const Binding& embeds = tensors_["inputs_embeds"];
    const Binding& starts = tensors_["kvcache_start_index"];
    const Binding& rows = tensors_["last_token_ids"];
    const std::int64_t lanes = embeds.shape.d[0], tokens = embeds.shape.d[1];
    const std::int64_t logit_rows = rows.shape.d[1], vocabulary = fact("vocabulary");
    const bool empty = starts.shape.d[0] == 0;
    const AttentionMode mode = empty         ? AttentionMode::kPrefill
                               : tokens == 1 ? AttentionMode::kDecode
                                             : AttentionMode::kChunkedPrefill;
    auto* logits = static_cast<float*>(tensors_["logits"].data);
    const auto floats = static_cast<std::size_t>(lanes * logit_rows * vocabulary);
    if (!fake_cuda_on_device(logits, floats * sizeof(float))) {
      return refuse("logits is bound to less than its shape needs");
    }
    std::fill_n(logits, floats, 0.0f);
    EnqueuedStep step{profile_, tokens, logit_rows, {}};
    for (std::int64_t layer = 0; layer < fact("layers"); ++layer) {
      step.caches.push_back(cache(layer));
    }
    steps().push_back(step);
    const auto* lengths = static_cast<const std::int32_t*>(tensors_["context_lengths"].data);
    for (std::int64_t b = 0; b < lanes; ++b) {
      const std::int32_t start = empty ? 0 : static_cast<const std::int32_t*>(starts.data)[b];
      const LaneExtent extent = lane_extent(mode, tokens, lengths[b], start);
      if (!extent.fits(fact("capacity"))) {
        return refuse("a lane does not fit");
      }
      for (std::int64_t s = 0; s < extent.new_tokens; ++s) {
        const Half* row = static_cast<const Half*>(embeds.data) + (b * tokens + s) * fact("hidden");
        for (std::int64_t layer = 0; layer < fact("layers"); ++layer) {
          const float kept = half_to_float(*row) + static_cast<float>(layer);
          cache(layer)[slot(b, extent.history + s)] = float_to_half(kept);
        }
      }
      for (std::int64_t row = 0; row < logit_rows; ++row) {
        const std::int64_t token =
            static_cast<const std::int64_t*>(rows.data)[b * logit_rows + row];
        if (token >= extent.new_tokens) {
          continue;  // padding, or an idle lane
        }
        std::vector<std::int32_t> history;
        for (std::int64_t i = 0; i <= extent.history + token; ++i) {
          if (!read(b, i, history)) {
            return false;
          }
        }
        logits[(b * logit_rows + row) * vocabulary + scripted_next(history)] = kScriptedLogit;
      }
    }
    return true;
  }

  // The token that every layer holds in a slot.
  bool read(std::int64_t lane, std::int64_t position, std::vector<std::int32_t>& history) {
    const float first = half_to_float(cache(0)[slot(lane, position)]);
    for (std::int64_t layer = 1; layer < fact("layers"); ++layer) {
      if (half_to_float(cache(layer)[slot(lane, position)]) != first + static_cast<float>(layer)) {
        return refuse("the layers' caches hold different tokens");
      }
    }
    if (!(first >= 0)) {
      return refuse("a slot is read that was never written");
    }
    history.push_back(static_cast<std::int32_t>(first));
    return true;
  }

  const Json& facts_;
  ILogger& logger_;
  int profile_ = -1;
  void* scratch_ = nullptr;
  std::int64_t scratch_bytes_ = 0;
  std::map<std::string, Binding> tensors_;
};

class Engine final : public nvinfer1::ICudaEngine {
 public:
  Engine(Json facts, ILogger& logger) : facts_(std::move(facts)), logger_(logger) {
    for (const auto& [name, range] : facts_["inputs"].items()) {
      names_.push_back(name);
    }
    for (const auto& name : facts_["outputs"]) {
      names_.push_back(name);
    }
  }

  std::int32_t getNbIOTensors() const noexcept override {
    return static_cast<std::int32_t>(names_.size());
  }
  const char* getIOTensorName(std::int32_t index) const noexcept override {
    return names_[static_cast<std::size_t>(index)].c_str();
  }
  nvinfer1::TensorIOMode getTensorIOMode(const char* name) const noexcept override {
    return facts_["inputs"].contains(name) ? nvinfer1::TensorIOMode::kINPUT
                                           : nvinfer1::TensorIOMode::kOUTPUT;
  }
  std::int32_t getNbOptimizationProfiles() const noexcept override { return facts_["profiles"]; }
  std::int64_t getDeviceMemorySizeForProfileV2(std::int32_t index) const noexcept override {
    return facts_["scratch"][static_cast<std::size_t>(index)];
  }
  nvinfer1::IExecutionContext* createExecutionContext(
      nvinfer1::ExecutionContextAllocationStrategy strategy) noexcept override {
    const bool ours = strategy == nvinfer1::ExecutionContextAllocationStrategy::kUSER_MANAGED;
    return ours ? new Context(facts_, logger_) : nullptr;
  }

 private:
  const Json facts_;
  ILogger& logger_;
  std::vector<std::string> names_;
};

// Opens the library, as TensorRT does, and asks for its creators.
class Registry final : public nvinfer1::IPluginRegistry {
 public:
  PluginLibraryHandle loadLibrary(const char* path) noexcept override {
    void* library = ::dlopen(path, RTLD_LAZY | RTLD_LOCAL);
    return library == nullptr || ::dlsym(library, "getCreators") == nullptr ? nullptr : library;
  }
};

class Runtime final : public nvinfer1::IRuntime {
 public:
  explicit Runtime(ILogger& logger) : logger_(logger) {}

  nvinfer1::IPluginRegistry& getPluginRegistry() noexcept override { return registry_; }

  nvinfer1::ICudaEngine* deserializeCudaEngine(const void* blob,
                                               std::size_t size) noexcept override {
    const char* text = static_cast<const char*>(blob);
    Json facts = Json::parse(text, text + size, nullptr, /*allow_exceptions=*/false);
    if (!facts.is_object()) {
      logger_.log(ILogger::Severity::kERROR, "the engine file is damaged");
      return nullptr;
    }
    return new Engine(std::move(facts), logger_);
  }

 private:
  ILogger& logger_;
  Registry registry_;
};

}  // namespace
}  // namespace dovetail::standin

extern "C" __attribute__((visibility("default"))) void* createInferRuntime_INTERNAL(
    void* logger, std::int32_t version) {
  auto& out = *static_cast<nvinfer1::ILogger*>(logger);
  if (version != NV_TENSORRT_VERSION) {
    out.log(nvinfer1::ILogger::Severity::kERROR, "the version is another");
  }
  return new dovetail::standin::Runtime(out);
}
