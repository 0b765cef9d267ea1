// SPDX-License-Identifier: Apache-2.0
// The entry points of libdovetail_tensorrt_v2.so. TensorRT's loadLibrary calls getPluginCreators();
// hosts that only dlopen the library find it registered. The registry's table begins alike in 8.6
// and 10: register, list, get.
#include <memory>
#include <vector>

#include "tensorrt/engine_symbol.h"
#include "tensorrt/logging.h"
#include "tensorrt/plugin_v2.h"

#define DOVETAIL_EXPORT extern "C" __attribute__((visibility("default")))

namespace dovetail::tensorrt {
namespace {

class RegistryV2 {
 public:
  virtual bool registerCreator(nvinfer1::IPluginCreator& creator, const char* name) noexcept = 0;
  virtual nvinfer1::IPluginCreator* const* getPluginCreatorList(
      std::int32_t* count) const noexcept = 0;
  virtual nvinfer1::IPluginCreator* getPluginCreator(const char* name, const char* version,
                                                     const char* plugin_namespace) noexcept = 0;
};

struct Creators {
  Creators() {
    for (const OpSchema* schema : plugin_schemas()) {
      owned.push_back(std::make_unique<CreatorV2>(*schema));
      pointers.push_back(owned.back().get());
    }
  }
  std::vector<std::unique_ptr<CreatorV2>> owned;
  std::vector<nvinfer1::IPluginCreator*> pointers;
};

Creators& creators() {
  static auto* all = new Creators;
  return *all;
}

struct SelfRegistration {
  SelfRegistration() noexcept {
    guarded("self registration", [] {
      using GetRegistry = RegistryV2* (*)() noexcept;
      using GetVersion = std::int32_t (*)() noexcept;
      const auto get = reinterpret_cast<GetRegistry>(engine_symbol("getPluginRegistry"));
      const auto version = reinterpret_cast<GetVersion>(engine_symbol("getInferLibVersion"));
      // 8.x reports 8601 for 8.6.1; 10.x reports 100300 for 10.3.0.
      const std::int32_t wanted = DOVETAIL_TENSORRT_ABI == 8 ? 8 : 10;
      if (get == nullptr || version == nullptr ||
          version() / (version() < 10000 ? 1000 : 10000) != wanted) {
        return Status::success();
      }
      RegistryV2* registry = get();
      std::int32_t count = 0;
      nvinfer1::IPluginCreator* const* all = registry->getPluginCreatorList(&count);
      for (nvinfer1::IPluginCreator* creator : creators().pointers) {
        bool present = false;
        for (std::int32_t i = 0; i < count; ++i) {
          present = present || std::string(all[i]->getPluginName()) == creator->getPluginName();
        }
        if (!present) {
          registry->registerCreator(*creator, "");
        }
      }
      return Status::success();
    });
  }
};
const SelfRegistration self_registration;

}  // namespace
}  // namespace dovetail::tensorrt

namespace trt = dovetail::tensorrt;

// `finder` is an nvinfer1::ILoggerFinder*.
DOVETAIL_EXPORT void setLoggerFinder(void* finder) {
  trt::set_logger_finder(finder);
}

DOVETAIL_EXPORT nvinfer1::IPluginCreator* const* getPluginCreators(std::int32_t& count) {
  count = static_cast<std::int32_t>(trt::creators().pointers.size());
  return trt::creators().pointers.data();
}

DOVETAIL_EXPORT const char* dovetailLastError() {
  return trt::last_error();
}
