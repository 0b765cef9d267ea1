// SPDX-License-Identifier: Apache-2.0
// The facts of one version of the vendor's headers.
#include <NvInferRuntime.h>
#include <NvInferVersion.h>

#include "tensorrt/abi_facts_shared.h"
#if NV_TENSORRT_MAJOR <= \
    10  // 11 still declares IPluginV2, with another table and nothing to load it
#include "tensorrt/abi_facts_v2.h"
#endif
#if NV_TENSORRT_MAJOR >= 10
#include "tensorrt/abi_facts_v3.h"
#endif
#include "tensorrt/abi_test.h"

namespace dovetail::tensorrt_test {
namespace {

AbiFacts registry_facts() {
  using nvinfer1::AsciiChar;
  using nvinfer1::IPluginCreator;
  using Interface = nvinfer1::IPluginRegistry;
  const std::string prefix = "IPluginRegistry::";
  AbiFacts list;
#define NAMED(name, ...) \
  list.push_back(virtual_function<Interface>("IPluginRegistry::" name, __VA_ARGS__));
#if NV_TENSORRT_MAJOR <= 10
  using Register = bool (Interface::*)(IPluginCreator&, AsciiChar const*) noexcept;
  using Deregister = bool (Interface::*)(IPluginCreator const&) noexcept;
  NAMED("registerCreator V2", static_cast<Register>(&Interface::registerCreator))
  SLOT(getPluginCreatorList)
  SLOT(getPluginCreator)
  NAMED("deregisterCreator V2", static_cast<Deregister>(&Interface::deregisterCreator))
#endif
  SLOT(loadLibrary)
#if NV_TENSORRT_MAJOR >= 10
  using nvinfer1::IPluginCreatorInterface;
  using RegisterAny = bool (Interface::*)(IPluginCreatorInterface&, AsciiChar const*) noexcept;
  using DeregisterAny = bool (Interface::*)(IPluginCreatorInterface const&) noexcept;
  NAMED("registerCreator", static_cast<RegisterAny>(&Interface::registerCreator))
  SLOT(getAllCreators)
  SLOT(getCreator)
  NAMED("deregisterCreator", static_cast<DeregisterAny>(&Interface::deregisterCreator))
#endif
#undef NAMED
  return without_signatures(list);
}

AbiFacts logger_facts() {
  using nvinfer1::ILogger;
  AbiFacts facts;
  facts.push_back(virtual_function("ILogger::log", &ILogger::log));
  facts.push_back(
      virtual_function("ILoggerFinder::findLogger", &nvinfer1::ILoggerFinder::findLogger));
  FACT_VALUE(facts, ILogger, Severity::kINTERNAL_ERROR)
  FACT_VALUE(facts, ILogger, Severity::kERROR)
  FACT_VALUE(facts, ILogger, Severity::kWARNING)
  FACT_VALUE(facts, ILogger, Severity::kINFO)
  FACT_VALUE(facts, ILogger, Severity::kVERBOSE)
  for (AbiFact& fact : facts) {
    if (const auto at = fact.name.find("Severity::"); at != std::string::npos) {
      fact.name.erase(at, std::strlen("Severity::"));
    }
  }
  return without_signatures(facts);
}

const bool registered = [] {
  Vendor vendor{.major = NV_TENSORRT_MAJOR, .minor = NV_TENSORRT_MINOR};
  vendor.facts = shared_facts();
#if NV_TENSORRT_MAJOR <= 10
  const AbiFacts v2 = v2_facts();
  vendor.facts.insert(vendor.facts.end(), v2.begin(), v2.end());
#endif
#if NV_TENSORRT_MAJOR >= 10
  const AbiFacts v3 = v3_facts();
  vendor.facts.insert(vendor.facts.end(), v3.begin(), v3.end());
#endif
  vendor.registry = registry_facts();
  vendor.logger = logger_facts();
  vendors().push_back(std::move(vendor));
  return true;
}();

}  // namespace
}  // namespace dovetail::tensorrt_test
