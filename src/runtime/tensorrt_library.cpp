// SPDX-License-Identifier: Apache-2.0
#include "runtime/tensorrt_library.h"

#include <dlfcn.h>

#include <cstdlib>
#include <utility>

#include "ops/message.h"

namespace dovetail {

void TensorRtLogger::log(Severity severity, const char* message) noexcept {
  if (severity > Severity::kERROR) {
    return;
  }
  try {
    const std::lock_guard lock(mutex_);
    if (first_error_.empty()) {  // the others follow from it
      first_error_ = message;
    }
  } catch (const std::exception&) {  // out of memory: the error without its text
  }
}

bool TensorRtLogger::has_error() {
  const std::lock_guard lock(mutex_);
  return !first_error_.empty();
}

Status TensorRtLogger::take(const std::string& action) {
  const std::lock_guard lock(mutex_);
  std::string reason = std::exchange(first_error_, {});
  return internal_error("tensorrt: cannot ", action, ": ",
                        reason.empty() ? "it gives no reason" : reason);
}

Result<std::unique_ptr<nvinfer1::IRuntime>> open_tensorrt(const std::filesystem::path& requested,
                                                          TensorRtLogger& logger) {
  const char* variable = std::getenv("DOVETAIL_TENSORRT_LIBRARY");
  std::filesystem::path path = requested;
  if (path.empty()) {
    path = variable != nullptr && *variable != '\0' ? std::string(variable)
                                                    : concat("libnvinfer.so.", NV_TENSORRT_MAJOR);
  }
  void* handle = ::dlopen(path.c_str(), RTLD_NOW | RTLD_GLOBAL);
  if (handle == nullptr) {
    return not_found("TensorRT cannot be opened: ", ::dlerror(),
                     " (put its lib folder on LD_LIBRARY_PATH, or set DOVETAIL_TENSORRT_LIBRARY)");
  }
  using Create = void* (*)(void*, std::int32_t);
  const auto create = reinterpret_cast<Create>(::dlsym(handle, "createInferRuntime_INTERNAL"));
  if (create == nullptr) {
    return not_found(path.string(), " is not TensorRT: it has no createInferRuntime_INTERNAL");
  }
  // Without a driver, 11.4 logs that and returns a pointer to nothing that is not null.
  void* runtime = create(&logger, NV_TENSORRT_VERSION);
  if (runtime == nullptr || logger.has_error()) {
    return logger.take("start " + path.string());
  }
  return std::unique_ptr<nvinfer1::IRuntime>(static_cast<nvinfer1::IRuntime*>(runtime));
}

}  // namespace dovetail
