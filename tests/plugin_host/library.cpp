// SPDX-License-Identifier: Apache-2.0
#include <dlfcn.h>

#include "ops/message.h"
#include "plugin_host/plugin_host.h"
#include "tensorrt/abi/logger_interface.h"
#include "tensorrt/abi/plugin_interface.h"

namespace dovetail::plugin_host {
namespace {

namespace abi = tensorrt::abi;

std::vector<std::string>& messages() {
  thread_local std::vector<std::string> list;
  return list;
}

// Both forms of logger and finder, as the vendor's headers of TensorRT 10 and 11 have them.
class PlainLogger final : public abi::PlainLogger {
 public:
  void log(abi::Severity, const char* message) noexcept override { messages().push_back(message); }
};
class PlainFinder final : public abi::PlainLoggerFinder {
 public:
  void* findLogger() override { return &logger_; }

 private:
  PlainLogger logger_;
};

#if DOVETAIL_TENSORRT_ABI == 8
using VersionedFinder = PlainFinder;
#else
class VersionedLogger final : public nvinfer1::IVersionedInterface {
 public:
  nvinfer1::InterfaceInfo getInterfaceInfo() const noexcept override { return {"ILogger", 1, 0}; }
  virtual void log(abi::Severity, const char* message) noexcept { messages().push_back(message); }
};
class VersionedFinder final : public nvinfer1::IVersionedInterface {
 public:
  nvinfer1::InterfaceInfo getInterfaceInfo() const noexcept override {
    return {"ILoggerFinder", 1, 0};
  }
  virtual void* findLogger() { return &logger_; }

 private:
  VersionedLogger logger_;
};
#endif

void* finder(LoggerForm form) {
  static PlainFinder plain;
  static VersionedFinder versioned;
  return form == LoggerForm::kPlain ? static_cast<void*>(&plain) : static_cast<void*>(&versioned);
}

}  // namespace

std::vector<std::string> take_messages() {
  return std::exchange(messages(), {});
}

Status step_status(bool ok, const char* step) {
  const std::vector<std::string> logged = take_messages();
  if (ok) {
    return logged.empty() ? Status::success()
                          : internal_error(step, " succeeded, but logged: ", logged.back());
  }
  return logged.empty() ? internal_error(step, " failed without a message")
                        : invalid_argument(logged.back());
}

Status logged_status() {
  const std::vector<std::string> logged = take_messages();
  return logged.empty() ? Status::success() : invalid_argument(logged.back());
}

Result<std::unique_ptr<Library>> Library::open(const std::string& path, LoggerForm form) {
  void* handle = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr) {
    return not_found(path, ": ", dlerror());
  }
  if (const auto set_finder = reinterpret_cast<void (*)(void*)>(dlsym(handle, "setLoggerFinder"))) {
    set_finder(finder(form));
  }
  std::unique_ptr<Library> library;
#if DOVETAIL_TENSORRT_ABI != 8
  library = open_v3(handle);
#endif
  if (library == nullptr) {
    library = open_v2(handle);
  }
  if (library == nullptr) {
    return invalid_argument(path,
                            ": no getCreators and no getPluginCreators, expected one of them");
  }
  return library;
}

}  // namespace dovetail::plugin_host
