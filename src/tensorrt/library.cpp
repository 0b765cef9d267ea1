// SPDX-License-Identifier: Apache-2.0
// The entry points of libdovetail_tensorrt.so. Two kinds of host load it. Those that call the
// registry's loadLibrary (trtexec --dynamicPlugins, Python): TensorRT calls getCreators() and
// registers what it returns. Those that only dlopen it: the library registers itself when it is
// loaded, if the process has a registry in its global symbols. Should getCreators() be called
// afterwards, that registration is taken back first, so that nothing is registered twice.
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "tensorrt/creator_v3.h"
#include "tensorrt/logging.h"
#include "tensorrt/registry.h"

#define DOVETAIL_EXPORT extern "C" __attribute__((visibility("default")))

namespace dovetail::tensorrt {
namespace {

// Creators of one namespace; they live as long as the process, as the registry expects.
struct Creators {
  explicit Creators(const std::string& plugin_namespace) {
    for (const OpSchema* schema : plugin_schemas()) {
      owned.push_back(std::make_unique<CreatorV3>(*schema, plugin_namespace));
      pointers.push_back(owned.back().get());
    }
  }

  std::vector<std::unique_ptr<CreatorV3>> owned;
  std::vector<nvinfer1::IPluginCreatorInterface*> pointers;
};

Creators& default_creators() {
  static auto* creators = new Creators("");
  return *creators;
}

std::mutex registration_mutex;
bool self_registered = false;

struct SelfRegistration {
  SelfRegistration() noexcept {
    guarded("self registration", [] {
      const std::lock_guard lock(registration_mutex);
      const std::optional<Registry> registry = Registry::find();
      if (registry.has_value() && !registry->has(plugin_schemas()[0]->name)) {
        self_registered = registry->add(default_creators().pointers, "");
      }
      return Status::success();
    });
  }
};
const SelfRegistration self_registration;

}  // namespace
}  // namespace dovetail::tensorrt

using dovetail::Status;
namespace trt = dovetail::tensorrt;

// `finder` is an nvinfer1::ILoggerFinder*.
DOVETAIL_EXPORT void setLoggerFinder(void* finder) {
  trt::set_logger_finder(finder);
}

DOVETAIL_EXPORT nvinfer1::IPluginCreatorInterface* const* getCreators(std::int32_t& count) {
  const std::lock_guard lock(trt::registration_mutex);
  auto& creators = trt::default_creators();
  if (trt::self_registered) {
    if (const std::optional<trt::Registry> registry = trt::Registry::find()) {
      registry->remove(creators.pointers);
    }
    trt::self_registered = false;
  }
  count = static_cast<std::int32_t>(creators.pointers.size());
  return creators.pointers.data();
}

// Why the last plugin call on this thread failed; "" when none did.
DOVETAIL_EXPORT const char* dovetailLastError() {
  return trt::last_error();
}

// Registers the creators under a namespace of the caller's and sends messages to its logger. For
// hosts that link the library. `logger` is an nvinfer1::ILogger*; both may be null. False when
// there is no registry in the process or it refuses.
DOVETAIL_EXPORT bool initDovetailPlugins(void* logger, const char* plugin_namespace) {
  return trt::guarded("initDovetailPlugins", [&]() -> Status {
    if (logger != nullptr) {
      trt::set_logger(logger);
    }
    const std::string name = plugin_namespace == nullptr ? "" : plugin_namespace;
    const std::optional<trt::Registry> registry = trt::Registry::find();
    if (!registry.has_value()) {
      return {dovetail::StatusCode::kNotFound,
              "dovetail: no TensorRT plugin registry in this process, expected libnvinfer to be "
              "loaded"};
    }
    if (registry->has(dovetail::plugin_schemas()[0]->name, name)) {
      return Status::success();
    }
    auto* creators = new trt::Creators(name);
    if (!registry->add(creators->pointers, name)) {
      return {dovetail::StatusCode::kInternal,
              "dovetail: the plugin registry refused the creators for namespace \"" + name + "\""};
    }
    return Status::success();
  });
}
