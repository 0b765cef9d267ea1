// SPDX-License-Identifier: Apache-2.0
#include "runtime/onnxruntime_cuda.h"

#include <dlfcn.h>

#include <iterator>
#include <system_error>

#include "runtime/onnxruntime_handles.h"

namespace dovetail {
namespace {

namespace fs = std::filesystem;

// Where the library that serves this API was loaded from, whatever name it was opened by.
fs::path folder_of(const OrtApi& api) {
  Dl_info info{};
  if (::dladdr(reinterpret_cast<const void*>(api.CreateEnv), &info) == 0) {
    return {};
  }
  std::error_code error;
  return fs::canonical(info.dli_fname, error).parent_path();
}

// Why the dynamic linker cannot load the provider; empty when it can. Alone it lacks one symbol,
// which ONNX Runtime's own library brings: that is no complaint.
std::string linker_complaint(const fs::path& provider) {
  if (void* handle = ::dlopen(provider.c_str(), RTLD_LAZY | RTLD_LOCAL)) {
    ::dlclose(handle);
    return {};
  }
  const std::string complaint = ::dlerror();
  return complaint.find("Provider_GetHost") == std::string::npos ? complaint : "";
}

Status append(const OrtApi& api, OrtSessionOptions* options, bool graphs) {
  const char* const settings[][2] = {
      // Weights and caches have the sizes they have; doubling would waste up to half the memory.
      {"arena_extend_strategy", "kSameAsRequested"},
      // fp32 weights were asked for as fp32: TF32 keeps 10 bits of them.
      {"use_tf32", "0"},
      {"enable_cuda_graph", graphs ? "1" : "0"},
  };
  const char* keys[std::size(settings)];
  const char* values[std::size(settings)];
  for (std::size_t i = 0; i < std::size(settings); ++i) {
    keys[i] = settings[i][0];
    values[i] = settings[i][1];
  }
  OrtOwner<OrtCUDAProviderOptionsV2> cuda(nullptr, api.ReleaseCUDAProviderOptions);
  DOVETAIL_RETURN_IF_ERROR(
      to_status(api, api.CreateCUDAProviderOptions(OrtFill(cuda)), "configure CUDA"));
  DOVETAIL_RETURN_IF_ERROR(
      to_status(api, api.UpdateCUDAProviderOptions(cuda.get(), keys, values, std::size(settings)),
                "configure CUDA"));
  return to_status(api, api.SessionOptionsAppendExecutionProvider_CUDA_V2(options, cuda.get()),
                   "use CUDA");
}

}  // namespace

Status append_cuda_provider(const OnnxRuntimeLibrary& library, OrtSessionOptions* options,
                            bool graphs) {
  const fs::path provider = folder_of(*library.api) / "libonnxruntime_providers_cuda.so";
  std::error_code error;
  if (!fs::exists(provider, error)) {
    return not_found("device cuda: ONNX Runtime ", library.version, " at ", library.path.string(),
                     " has no CUDA provider: run `pip install onnxruntime-gpu`, or name its "
                     "libonnxruntime.so");
  }
  const Status appended = append(*library.api, options, graphs);
  if (appended.ok()) {
    return appended;
  }
  const std::string complaint = linker_complaint(provider);
  return complaint.empty()
             ? appended
             : not_found("device cuda: ONNX Runtime's CUDA provider cannot be loaded: ", complaint,
                         " (are CUDA's and cuDNN's libraries on LD_LIBRARY_PATH?)");
}

}  // namespace dovetail
