// SPDX-License-Identifier: Apache-2.0
#include "runtime/tensorrt_engine.h"

#include "ops/message.h"
#include "runtime/memory_map.h"
#include "runtime/operator_library.h"
#include "runtime/step_tensors.h"
#include "runtime/tensorrt_context.h"
#include "runtime/tensorrt_library.h"

namespace dovetail {
namespace {

class TensorRtEngine final : public Engine {
 public:
  TensorRtEngine(const Package& package, std::unique_ptr<TensorRtLogger> logger,
                 std::unique_ptr<nvinfer1::IRuntime> runtime,
                 std::unique_ptr<nvinfer1::ICudaEngine> engine)
      : package_(package),
        logger_(std::move(logger)),
        runtime_(std::move(runtime)),
        engine_(std::move(engine)) {}

  std::string describe() const override {
    return concat("tensorrt, built against ", NV_TENSORRT_MAJOR, ".", NV_TENSORRT_MINOR, ", cuda");
  }

  Result<std::unique_ptr<EngineContext>> make_context(std::int64_t batch) override {
    return make_tensorrt_context(*engine_, *logger_, package_, batch);
  }

 private:
  const Package& package_;
  std::unique_ptr<TensorRtLogger> logger_;  // destroyed last: the others log
  std::unique_ptr<nvinfer1::IRuntime> runtime_;
  std::unique_ptr<nvinfer1::ICudaEngine> engine_;
};

Status check_engine(const Package& package, const nvinfer1::ICudaEngine& engine) {
  std::vector<std::string> inputs, outputs;
  for (std::int32_t i = 0; i < engine.getNbIOTensors(); ++i) {
    const char* name = engine.getIOTensorName(i);
    (engine.getTensorIOMode(name) == nvinfer1::TensorIOMode::kINPUT ? inputs : outputs)
        .emplace_back(name);
  }
  DOVETAIL_RETURN_IF_ERROR(check_graph_names(package.manifest, package.file(kEngineFile),
                                             std::move(inputs), std::move(outputs)));
  return check_profiles(package.file(kEngineFile), engine.getNbOptimizationProfiles());
}

}  // namespace

Result<std::unique_ptr<Engine>> open_tensorrt_engine(const Package& package,
                                                     const EngineOptions& options) {
  Result<std::filesystem::path> plugins = find_plugin_library(options.operator_library);
  if (!plugins.ok()) {
    return plugins.status();
  }
  auto logger = std::make_unique<TensorRtLogger>();
  Result<std::unique_ptr<nvinfer1::IRuntime>> runtime =
      open_tensorrt(options.engine_library, *logger);
  if (!runtime.ok()) {
    return runtime.status();
  }
  if ((*runtime)->getPluginRegistry().loadLibrary(plugins->c_str()) == nullptr) {
    return logger->take("load " + plugins->string());
  }
  const std::filesystem::path file = package.file(kEngineFile);
  const Result<MemoryMap> bytes = MemoryMap::open(file);
  if (!bytes.ok()) {
    return bytes.status();
  }
  std::unique_ptr<nvinfer1::ICudaEngine> engine(
      (*runtime)->deserializeCudaEngine(bytes->bytes().data(), bytes->bytes().size()));
  if (engine == nullptr) {
    return logger->take("load " + file.string());
  }
  DOVETAIL_RETURN_IF_ERROR(check_engine(package, *engine));
  return std::unique_ptr<Engine>(std::make_unique<TensorRtEngine>(
      package, std::move(logger), std::move(*runtime), std::move(engine)));
}

}  // namespace dovetail
