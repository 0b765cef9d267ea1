// SPDX-License-Identifier: Apache-2.0
#include "runtime/onnxruntime_engine.h"

#include <string>
#include <vector>

#include "runtime/cuda_driver.h"
#include "runtime/onnxruntime_context.h"
#include "runtime/onnxruntime_cuda.h"
#include "runtime/operator_library.h"
#include "runtime/step_tensors.h"

namespace dovetail {
namespace {

class OnnxRuntimeEngine final : public Engine {
 public:
  OnnxRuntimeEngine(const Package& package, std::unique_ptr<OnnxRuntimeSession> loaded, int threads)
      : package_(package), loaded_(std::move(loaded)), threads_(threads) {}

  std::string describe() const override {
    if (loaded_->gpu_memory != nullptr) {
      return concat("onnxruntime ", loaded_->library.version, ", cuda");
    }
    return concat("onnxruntime ", loaded_->library.version, ", cpu, ", threads_,
                  threads_ == 1 ? " thread" : " threads");
  }

  Result<std::unique_ptr<EngineContext>> make_context(std::int64_t batch) override {
    return loaded_->gpu_memory != nullptr ? make_onnxruntime_gpu_context(*loaded_, package_, batch)
                                          : make_onnxruntime_context(*loaded_, package_, batch);
  }

 private:
  const Package& package_;
  std::unique_ptr<OnnxRuntimeSession> loaded_;
  const int threads_;
};

// ONNX Runtime copies float matrices into a layout of its own when a session is made. For one row a
// step, as the head of a single lane has, the copy is no faster than the mapped file (Llama-3.2-1B's
// fp32 head: 1 GB of memory and 1.8 s of loading for nothing); for 4 to 128 rows it is 1.2 to 2 times.
bool uses_mapped_floats(const Manifest& m) {
  return m.int4_weights && m.max_batch == 1 && !m.tree;
}

Status configure(const OrtApi& api, OrtSessionOptions* session, int threads,
                 const Manifest& manifest, const std::filesystem::path& operators) {
  // Activation shapes change with every prompt: a memory plan per shape would only grow.
  OrtStatus* const calls[] = {
      api.SetIntraOpNumThreads(session, threads),
      api.SetSessionExecutionMode(session, ORT_SEQUENTIAL),
      api.SetSessionGraphOptimizationLevel(session, ORT_ENABLE_ALL),
      api.DisableMemPattern(session),
      api.SetSessionLogSeverityLevel(session, ORT_LOGGING_LEVEL_FATAL),
      // Workers wait for the next operator of a decode step, microseconds away, without sleeping.
      api.AddSessionConfigEntry(session, "session.intra_op.allow_spinning", "1"),
      // Our operators cut their work for as many threads; see docs/onnxruntime.md.
      api.AddSessionConfigEntry(session, "dovetail.threads", std::to_string(threads).c_str()),
      api.AddSessionConfigEntry(session, "session.disable_prepacking",
                                uses_mapped_floats(manifest) ? "1" : "0"),
  };
  Status first;
  for (OrtStatus* call : calls) {
    Status status = to_status(api, call, "configure a session");
    first = first.ok() ? status : first;
  }
  DOVETAIL_RETURN_IF_ERROR(first);
  return to_status(api, api.RegisterCustomOpsLibrary_V2(session, operators.c_str()),
                   "register " + operators.string());
}

using NameOf = OrtStatus*(ORT_API_CALL*)(const OrtSession*, std::size_t, OrtAllocator*, char**);

Result<std::vector<std::string>> names_of(const OnnxRuntimeSession& loaded, std::size_t count,
                                          NameOf name_at) {
  const OrtApi& api = *loaded.library.api;
  OrtAllocator* allocator = nullptr;
  DOVETAIL_RETURN_IF_ERROR(
      to_status(api, api.GetAllocatorWithDefaultOptions(&allocator), "read the graph"));
  std::vector<std::string> names;
  for (std::size_t i = 0; i < count; ++i) {
    char* name = nullptr;
    DOVETAIL_RETURN_IF_ERROR(
        to_status(api, name_at(loaded.session.get(), i, allocator, &name), "read the graph"));
    names.emplace_back(name);
    DOVETAIL_RETURN_IF_ERROR(to_status(api, api.AllocatorFree(allocator, name), "read the graph"));
  }
  return names;
}

// The graph has exactly the inputs and outputs that the manifest promises.
Status check_graph(const Package& package, const OnnxRuntimeSession& loaded) {
  const OrtApi& api = *loaded.library.api;
  std::size_t inputs = 0;
  std::size_t outputs = 0;
  DOVETAIL_RETURN_IF_ERROR(
      to_status(api, api.SessionGetInputCount(loaded.session.get(), &inputs), "read the graph"));
  DOVETAIL_RETURN_IF_ERROR(
      to_status(api, api.SessionGetOutputCount(loaded.session.get(), &outputs), "read the graph"));
  Result<std::vector<std::string>> input_names = names_of(loaded, inputs, api.SessionGetInputName);
  Result<std::vector<std::string>> output_names =
      names_of(loaded, outputs, api.SessionGetOutputName);
  if (!input_names.ok() || !output_names.ok()) {
    return input_names.ok() ? output_names.status() : input_names.status();
  }
  return check_graph_names(package.manifest, package.file("model.onnx"), std::move(*input_names),
                           std::move(*output_names));
}

Status create_session(const Package& package, const EngineOptions& options,
                      const std::filesystem::path& operators, OnnxRuntimeSession& loaded) {
  const OrtApi& api = *loaded.library.api;
  const bool cuda = loaded.gpu_memory != nullptr;
  OrtOwner<OrtSessionOptions> session_options(nullptr, api.ReleaseSessionOptions);
  DOVETAIL_RETURN_IF_ERROR(
      to_status(api, api.CreateSessionOptions(OrtFill(session_options)), "start"));
  if (cuda) {
    DOVETAIL_RETURN_IF_ERROR(
        append_cuda_provider(loaded.library, session_options.get(), loaded.cuda_graphs));
    // ONNX Runtime's own words for a missing GPU are those of its source code.
    DOVETAIL_RETURN_IF_ERROR(CudaDriver::open().status());
  }
  // On a GPU one thread feeds it; more would only wait beside it.
  const int threads = cuda ? 1 : options.threads;
  DOVETAIL_RETURN_IF_ERROR(
      configure(api, session_options.get(), threads, package.manifest, operators));
  const std::filesystem::path model = package.file("model.onnx");
  const Status created =
      to_status(api,
                api.CreateSession(loaded.environment.get(), model.c_str(), session_options.get(),
                                  OrtFill(loaded.session)),
                "load " + model.string());
  // One of our operators: the package is for the CPU.
  return created.ok() || !created.message().ends_with(" on CUDA")
             ? created
             : Status(created.code(), created.message() +
                                          "; dovetail export --device cuda makes a "
                                          "package for a GPU");
}

}  // namespace

Result<std::unique_ptr<Engine>> open_onnxruntime_engine(const Package& package,
                                                        const EngineOptions& options) {
  const bool cuda = options.device == "cuda";
  Result<OnnxRuntimeLibrary> library = open_onnxruntime(options.engine_library);
  if (!library.ok()) {
    return library.status();
  }
  Result<std::filesystem::path> operators = find_operator_library(options.operator_library);
  if (!operators.ok()) {
    return operators.status();
  }
  const OrtApi& api = *library->api;
  auto loaded = std::make_unique<OnnxRuntimeSession>(*library);
  DOVETAIL_RETURN_IF_ERROR(to_status(
      api, api.CreateEnv(ORT_LOGGING_LEVEL_FATAL, "dovetail", OrtFill(loaded->environment)),
      "start"));
  DOVETAIL_RETURN_IF_ERROR(to_status(
      api, api.CreateCpuMemoryInfo(OrtDeviceAllocator, OrtMemTypeDefault, OrtFill(loaded->memory)),
      "start"));
  for (OrtOwner<OrtRunOptions>* run : {&loaded->run_options, &loaded->shrinking_run_options}) {
    DOVETAIL_RETURN_IF_ERROR(to_status(api, api.CreateRunOptions(OrtFill(*run)), "start"));
  }
  DOVETAIL_RETURN_IF_ERROR(
      to_status(api,
                api.AddRunConfigEntry(loaded->shrinking_run_options.get(),
                                      "memory.enable_memory_arena_shrinkage", "cpu:0"),
                "start"));
  if (cuda) {
    DOVETAIL_RETURN_IF_ERROR(
        to_status(api,
                  api.CreateMemoryInfo("Cuda", OrtDeviceAllocator, 0, OrtMemTypeDefault,
                                       OrtFill(loaded->gpu_memory)),
                  "use CUDA"));
    DOVETAIL_RETURN_IF_ERROR(to_status(
        api, api.AddRunConfigEntry(loaded->run_options.get(), "gpu_graph_id", "-1"), "start"));
  }
  loaded->cuda_graphs = cuda;
  Status created = create_session(package, options, *operators, *loaded);
  if (!created.ok() && cuda) {  // a node that does not run on the GPU: no graph
    loaded->cuda_graphs = false;
    created = create_session(package, options, *operators, *loaded);
  }
  DOVETAIL_RETURN_IF_ERROR(created);
  DOVETAIL_RETURN_IF_ERROR(check_graph(package, *loaded));
  return std::unique_ptr<Engine>(
      std::make_unique<OnnxRuntimeEngine>(package, std::move(loaded), options.threads));
}

}  // namespace dovetail
