// SPDX-License-Identifier: Apache-2.0
#include "tensorrt/registry.h"

#include "tensorrt/abi/plugin_registry.h"
#include "tensorrt/engine_symbol.h"

namespace dovetail::tensorrt {
namespace {

template <class Visit>
auto with_registry(void* registry, int major, Visit visit) {
  return major >= 11 ? visit(*static_cast<abi::RegistryV11*>(registry))
                     : visit(*static_cast<abi::RegistryV10*>(registry));
}

}  // namespace

std::optional<Registry> Registry::find() noexcept {
  using GetRegistry = void* (*)() noexcept;
  using GetVersion = std::int32_t (*)() noexcept;
  const auto get_registry = reinterpret_cast<GetRegistry>(engine_symbol("getPluginRegistry"));
  const auto get_version = reinterpret_cast<GetVersion>(engine_symbol("getInferLibVersion"));
  if (get_registry == nullptr || get_version == nullptr) {
    return std::nullopt;
  }
  const int major = get_version() / 10000;  // 10 and 11: major * 10000 + minor * 100 + patch
  void* registry = get_registry();
  if (registry == nullptr || major < 10 || major > 11) {
    return std::nullopt;
  }
  return Registry(registry, major);
}

bool Registry::has(const char* plugin_name, const std::string& plugin_namespace) const noexcept {
  return with_registry(registry_, major_, [&](auto& registry) {
    std::int32_t count = 0;
    nvinfer1::IPluginCreatorInterface* const* all = registry.getAllCreators(&count);
    for (std::int32_t i = 0; i < count;
         ++i) {  // getCreator() would log an error when there is none
      const std::string kind = all[i]->getInterfaceInfo().kind;
      if (kind != "PLUGIN CREATOR_V3ONE") {
        continue;
      }
      const auto& creator = *static_cast<const nvinfer1::IPluginCreatorV3One*>(all[i]);
      if (std::string(creator.getPluginName()) == plugin_name &&
          creator.getPluginNamespace() == plugin_namespace) {
        return true;
      }
    }
    return false;
  });
}

bool Registry::add(std::span<nvinfer1::IPluginCreatorInterface* const> creators,
                   const std::string& plugin_namespace) const noexcept {
  return with_registry(registry_, major_, [&](auto& registry) {
    bool all = true;
    for (nvinfer1::IPluginCreatorInterface* creator : creators) {
      all = registry.registerCreator(*creator, plugin_namespace.c_str()) && all;
    }
    return all;
  });
}

void Registry::remove(std::span<nvinfer1::IPluginCreatorInterface* const> creators) const noexcept {
  with_registry(registry_, major_, [&](auto& registry) {
    for (nvinfer1::IPluginCreatorInterface* creator : creators) {
      registry.deregisterCreator(*creator);
    }
    return true;
  });
}

}  // namespace dovetail::tensorrt
