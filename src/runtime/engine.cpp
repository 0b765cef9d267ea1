// SPDX-License-Identifier: Apache-2.0
// The engines of this build, by name. A package of `dovetail export` says which engine it is for,
// an engine folder of `dovetail build` which TensorRT built it.
#include "runtime/engine.h"

#include "ops/message.h"
#include "runtime/python_engine.h"
#if defined(DOVETAIL_HAS_ONNXRUNTIME)
#include "runtime/onnxruntime_engine.h"
#endif
#if defined(DOVETAIL_HAS_TENSORRT)
#include "runtime/tensorrt_engine.h"
#endif

namespace dovetail {
namespace {

struct NamedEngine {
  const char* name;
  Result<std::unique_ptr<Engine>> (*open)(const Package&, const EngineOptions&);
};

constexpr NamedEngine kEngines[] = {
#if defined(DOVETAIL_HAS_ONNXRUNTIME)
    {"onnxruntime", open_onnxruntime_engine},
#endif
#if defined(DOVETAIL_HAS_TENSORRT)
    {"tensorrt", open_tensorrt_engine},
#else
    {"tensorrt", open_python_engine},
#endif
    {"tensorrt-rtx", open_python_engine},
};

}  // namespace

Result<std::unique_ptr<Engine>> open_engine(const Package& package, const EngineOptions& options) {
  if (!options.device.empty() && options.device != "cpu" && options.device != "cuda") {
    return invalid_argument("device is \"", options.device, "\", expected cpu or cuda");
  }
  const Manifest& m = package.manifest;
  const std::string& own = m.builder.empty() ? m.engine : m.builder;
  const std::string& name = options.name.empty() ? own : options.name;
  std::string known;
  for (const NamedEngine& engine : kEngines) {
    if (name != engine.name) {
      known += (known.empty() ? "" : ", ") + std::string(engine.name);
      continue;
    }
    const bool is_tensorrt = name.starts_with("tensorrt");
    if (is_tensorrt && m.engine == "tensorrt" && m.builder.empty()) {
      return unsupported(package.folder.string(),
                         " is a package, expected the engine that `dovetail "
                         "build ",
                         package.folder.string(), " OUT --engine ", name, "` makes of it");
    }
    if (name != own) {
      return unsupported(package.folder.string(),
                         m.builder.empty() ? " was exported for the engine " : " was built by ",
                         own, ", not for ", name);
    }
    if (is_tensorrt && options.device == "cpu") {
      return unsupported("device is \"cpu\", but the engine ", name, " runs on a GPU");
    }
    return engine.open(package, options);
  }
  return unsupported("the engine ", name, " is not in this build; it has ", known);
}

}  // namespace dovetail
