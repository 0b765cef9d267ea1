// SPDX-License-Identifier: Apache-2.0
// The engines of this build, by name.
#include "runtime/engine.h"

#include <array>

#include "ops/message.h"
#if defined(DOVETAIL_HAS_ONNXRUNTIME)
#include "runtime/onnxruntime_engine.h"
#endif

namespace dovetail {
namespace {

struct NamedEngine {
  const char* name;
  Result<std::unique_ptr<Engine>> (*open)(const Package&, const EngineOptions&);
};

#if defined(DOVETAIL_HAS_ONNXRUNTIME)
constexpr NamedEngine kEngines[] = {{"onnxruntime", open_onnxruntime_engine}};
#else
constexpr std::array<NamedEngine, 0> kEngines{};
#endif

}  // namespace

Result<std::unique_ptr<Engine>> open_engine(const Package& package, const EngineOptions& options) {
  const std::string& name = options.name.empty() ? package.manifest.engine : options.name;
  std::string known;
  for (const NamedEngine& engine : kEngines) {
    if (name == engine.name) {
      if (name != package.manifest.engine) {
        return unsupported(package.folder.string(), " was exported for the engine ",
                           package.manifest.engine, ", not for ", name);
      }
      return engine.open(package, options);
    }
    known += (known.empty() ? "" : ", ") + std::string(engine.name);
  }
  return unsupported("the engine ", name, " is not in this build; it has ",
                     known.empty() ? "none" : known);
}

}  // namespace dovetail
