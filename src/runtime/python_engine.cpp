// SPDX-License-Identifier: Apache-2.0
#include "runtime/python_engine.h"

#include <mutex>
#include <nlohmann/json.hpp>

#include "ops/message.h"
#include "runtime/child_process.h"
#include "runtime/operator_library.h"
#include "runtime/step_tensors.h"

namespace dovetail {
namespace {

using Json = nlohmann::json;
using Bytes = std::span<const std::byte>;

Bytes bytes_of(const void* data, std::size_t size) {
  return {static_cast<const std::byte*>(data), size};
}

std::vector<std::int64_t> dims_of(const Shape& shape) {
  std::vector<std::int64_t> dims;
  for (int i = 0; i < shape.rank(); ++i) {
    dims.push_back(shape[i]);
  }
  return dims;
}

// One request and its answer at a time; contexts of several threads share the child.
class Child {
 public:
  explicit Child(ChildProcess process) : process_(std::move(process)) {}

  Result<Json> ask(const char* command, const Json& request, std::span<const Bytes> payload = {},
                   std::span<std::byte> answer_payload = {}) {
    const std::lock_guard lock(mutex_);
    const std::string line = Json{{command, request}}.dump() + "\n";
    DOVETAIL_RETURN_IF_ERROR(process_.send(bytes_of(line.data(), line.size())));
    for (const Bytes part : payload) {
      DOVETAIL_RETURN_IF_ERROR(process_.send(part));
    }
    const Result<std::string> text = process_.receive_line();
    if (!text.ok()) {
      return text.status();
    }
    Json answer = Json::parse(*text, nullptr, /*allow_exceptions=*/false);
    if (!answer.is_object()) {
      return internal_error("the TensorRT process answered \"", *text, "\", expected JSON");
    }
    if (answer.contains("error")) {
      return internal_error(answer["error"].get<std::string>());
    }
    DOVETAIL_RETURN_IF_ERROR(process_.receive(answer_payload));
    return answer;
  }

  int next_id() {
    const std::lock_guard lock(mutex_);
    return next_id_++;
  }

 private:
  std::mutex mutex_;
  ChildProcess process_;
  int next_id_ = 0;
};

class Context final : public EngineContext {
 public:
  Context(std::shared_ptr<Child> child, const Package& package, std::int64_t batch)
      : child_(std::move(child)),
        package_(package),
        batch_(batch),
        id_(child_->next_id()),
        tensors_(package.manifest, batch) {}

  ~Context() override { static_cast<void>(child_->ask("close", {{"id", id_}})); }

  std::int64_t batch() const override { return batch_; }

  Status open() {
    const Manifest& m = package_.manifest;
    const SafeTensor& rope = package_.rope_table;
    const Shape cache = cache_shape(m, batch_);
    const Bytes payload[] = {rope.data};
    return child_
        ->ask("context",
              {{"id", id_},
               {"layers", m.model.layers},
               {"cache_shape", dims_of(cache)},
               {"cache_bytes", static_cast<std::size_t>(cache.count()) * size_of(m.kv_type)},
               {"rope_shape", dims_of(rope.desc.shape)},
               {"rope_bytes", rope.data.size()}},
              payload)
        .status();
  }

  Status run(const Step& s) override {
    Json inputs = Json::array();
    std::vector<Bytes> payload;
    for (const HostTensor& input : tensors_.inputs(s)) {
      inputs.push_back(
          {{"name", input.name}, {"shape", dims_of(input.shape)}, {"bytes", input.bytes()}});
      payload.push_back(bytes_of(input.data, input.bytes()));
    }
    const std::size_t logits_bytes =
        static_cast<std::size_t>(tensors_.logits_shape(s).count()) * sizeof(float);
    return child_
        ->ask("run",
              {{"id", id_},
               {"profile", profile_of(s)},
               {"inputs", inputs},
               {"logits_bytes", logits_bytes}},
              payload, {reinterpret_cast<std::byte*>(s.logits), logits_bytes})
        .status();
  }

 private:
  const std::shared_ptr<Child> child_;
  const Package& package_;
  const std::int64_t batch_;
  const int id_;
  const StepTensors tensors_;
};

class PythonEngine final : public Engine {
 public:
  PythonEngine(const Package& package, std::shared_ptr<Child> child, std::string description)
      : package_(package), child_(std::move(child)), description_(std::move(description)) {}

  std::string describe() const override { return description_; }

  Result<std::unique_ptr<EngineContext>> make_context(std::int64_t batch) override {
    auto context = std::make_unique<Context>(child_, package_, batch);
    DOVETAIL_RETURN_IF_ERROR(context->open());
    return std::unique_ptr<EngineContext>(std::move(context));
  }

 private:
  const Package& package_;
  std::shared_ptr<Child> child_;
  std::string description_;
};

}  // namespace

Result<std::unique_ptr<Engine>> open_python_engine(const Package& package,
                                                   const EngineOptions& options) {
  Result<std::filesystem::path> plugins = find_plugin_library(options.operator_library);
  if (!plugins.ok()) {
    return plugins.status();
  }
  const std::string& builder = package.manifest.builder;
  const std::filesystem::path python = environment_path("DOVETAIL_PYTHON");
  Result<ChildProcess> process = ChildProcess::start(
      {python.empty() ? "python3" : python.string(), "-m", "dovetail.run.launch", builder});
  if (!process.ok()) {
    return process.status();
  }
  auto child = std::make_shared<Child>(std::move(*process));
  const std::filesystem::path file = std::filesystem::absolute(package.file(kEngineFile));
  const Result<Json> opened =
      child->ask("open", {{"engine", file.string()}, {"library", plugins->string()}});
  if (!opened.ok()) {
    return opened.status();
  }
  DOVETAIL_RETURN_IF_ERROR(check_graph_names(
      package.manifest, file, opened->at("inputs").get<std::vector<std::string>>(),
      opened->at("outputs").get<std::vector<std::string>>()));
  DOVETAIL_RETURN_IF_ERROR(check_profiles(file, opened->at("profiles").get<int>()));
  return std::unique_ptr<Engine>(std::make_unique<PythonEngine>(
      package, std::move(child),
      concat(builder, " ", opened->at("version").get<std::string>(), " (Python), cuda")));
}

}  // namespace dovetail
