// SPDX-License-Identifier: Apache-2.0
// The facts of our own declaration, src/tensorrt/abi. Compiled for DOVETAIL_TENSORRT_ABI 8 and 10.
#include "tensorrt/abi/logger_interface.h"
#include "tensorrt/abi/plugin_interface_v2.h"
#include "tensorrt/abi/plugin_registry.h"
#include "tensorrt/abi_facts_shared.h"
#include "tensorrt/abi_facts_v2.h"
#if DOVETAIL_TENSORRT_ABI == 10
#include "tensorrt/abi_facts_v3.h"
#endif
#include "tensorrt/abi_test.h"

namespace dovetail::tensorrt_test {
namespace {

void append(AbiFacts& facts, const AbiFacts& more) {
  facts.insert(facts.end(), more.begin(), more.end());
}

}  // namespace

#if DOVETAIL_TENSORRT_ABI == 8

AbiFacts declared_facts_abi8() {
  AbiFacts facts = shared_facts();
  append(facts, v2_facts());
  return facts;
}

#else

AbiFacts declared_facts() {
  AbiFacts facts = shared_facts();
  append(facts, v3_facts());
  append(facts, v2_facts());
  return facts;
}

AbiFacts declared_registry(int major) {
  AbiFacts list;
  const std::string prefix = "IPluginRegistry::";
#define REGISTRY_SLOT(name, method) \
  list.push_back(virtual_function((prefix + #name).c_str(), &Interface::method));
  if (major <= 10) {
    using Interface = tensorrt::abi::RegistryV10;
    REGISTRY_SLOT(registerCreator V2, registerV2Creator)
    REGISTRY_SLOT(getPluginCreatorList, getPluginCreatorList)
    REGISTRY_SLOT(getPluginCreator, getPluginCreator)
    REGISTRY_SLOT(deregisterCreator V2, deregisterV2Creator)
    REGISTRY_SLOT(loadLibrary, loadLibrary)
    if (major == 10) {
      REGISTRY_SLOT(registerCreator, registerCreator)
      REGISTRY_SLOT(getAllCreators, getAllCreators)
      REGISTRY_SLOT(getCreator, getCreator)
      REGISTRY_SLOT(deregisterCreator, deregisterCreator)
    }
  } else {
    using Interface = tensorrt::abi::RegistryV11;
    REGISTRY_SLOT(loadLibrary, loadLibrary)
    REGISTRY_SLOT(registerCreator, registerCreator)
    REGISTRY_SLOT(getAllCreators, getAllCreators)
    REGISTRY_SLOT(getCreator, getCreator)
    REGISTRY_SLOT(deregisterCreator, deregisterCreator)
  }
#undef REGISTRY_SLOT
  return without_signatures(list);
}

AbiFacts declared_logger(bool versioned) {
  namespace abi = tensorrt::abi;
  AbiFacts facts;
  facts.push_back(versioned ? virtual_function("ILogger::log", &abi::VersionedLogger::log)
                            : virtual_function("ILogger::log", &abi::PlainLogger::log));
  facts.push_back(
      versioned
          ? virtual_function("ILoggerFinder::findLogger", &abi::VersionedLoggerFinder::findLogger)
          : virtual_function("ILoggerFinder::findLogger", &abi::PlainLoggerFinder::findLogger));
  using abi::Severity;
  for (const auto& [name, severity] :
       {std::pair("ILogger::kINTERNAL_ERROR", Severity::kINTERNAL_ERROR),
        std::pair("ILogger::kERROR", Severity::kERROR),
        std::pair("ILogger::kWARNING", Severity::kWARNING),
        std::pair("ILogger::kINFO", Severity::kINFO),
        std::pair("ILogger::kVERBOSE", Severity::kVERBOSE)}) {
    facts.push_back({name, static_cast<std::int64_t>(severity), ""});
  }
  return without_signatures(facts);
}

#endif

}  // namespace dovetail::tensorrt_test
