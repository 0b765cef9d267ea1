// SPDX-License-Identifier: Apache-2.0
#include "runtime/operator_library.h"

#include <dlfcn.h>

#include <cstdlib>
#include <string_view>
#include <system_error>

#include "ops/message.h"

// Paths that CMake passes in; empty in a build that is to be moved elsewhere.
#ifndef DOVETAIL_OPERATOR_LIBRARY_HINT
#define DOVETAIL_OPERATOR_LIBRARY_HINT ""
#endif
#ifndef DOVETAIL_PLUGIN_LIBRARY_HINT
#define DOVETAIL_PLUGIN_LIBRARY_HINT ""
#endif

namespace dovetail {
namespace {

namespace fs = std::filesystem;

Result<fs::path> find(const char* name, const fs::path& requested, const char* variable,
                      const char* hint) {
  std::error_code error;
  const fs::path named = requested.empty() ? environment_path(variable) : requested;
  if (!named.empty()) {
    if (!fs::exists(named, error)) {
      return not_found("the operator library ", named.string(), " does not exist");
    }
    return fs::absolute(named, error);
  }
  const fs::path here = program_folder();
  for (const fs::path& candidate :
       {here / name, here.parent_path() / "lib" / name,
        here.parent_path() / "lib" / "dovetail" / name, fs::path(hint)}) {
    if (fs::exists(candidate, error)) {
      return candidate;
    }
  }
  if (void* handle = ::dlopen(name, RTLD_NOW | RTLD_LOCAL)) {
    ::dlclose(handle);
    return fs::path(name);
  }
  return not_found(name, " was not found in ", here.string(),
                   ", its ../lib or the library path; set ", variable, " to its path");
}

}  // namespace

fs::path environment_path(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? fs::path() : fs::path(value);
}

fs::path program_folder() {
  std::error_code error;
  Dl_info info{};
  if (::dladdr(reinterpret_cast<const void*>(&program_folder), &info) != 0 &&
      info.dli_fname != nullptr &&
      std::string_view(info.dli_fname).find('/') != std::string_view::npos) {
    return fs::canonical(info.dli_fname, error).parent_path();
  }
  return fs::canonical("/proc/self/exe", error).parent_path();
}

Result<fs::path> find_operator_library(const fs::path& requested) {
  return find("libdovetail_onnxruntime.so", requested, "DOVETAIL_OPERATOR_LIBRARY",
              DOVETAIL_OPERATOR_LIBRARY_HINT);
}

Result<fs::path> find_plugin_library(const fs::path& requested) {
  return find("libdovetail_tensorrt.so", requested, "DOVETAIL_PLUGIN_LIBRARY",
              DOVETAIL_PLUGIN_LIBRARY_HINT);
}

}  // namespace dovetail
