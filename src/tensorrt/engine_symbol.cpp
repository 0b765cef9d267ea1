// SPDX-License-Identifier: Apache-2.0
#include "tensorrt/engine_symbol.h"

#include <dlfcn.h>

namespace dovetail::tensorrt {
namespace {

constexpr const char* kLibraries[] = {
    "libnvinfer.so.10",      "libnvinfer.so.11",          "libnvinfer_lean.so.10",
    "libnvinfer_lean.so.11", "libnvinfer_dispatch.so.10", "libnvinfer_dispatch.so.11",
    "libnvinfer.so.8",
};

}  // namespace

void* engine_symbol(const char* name) noexcept {
  if (void* symbol = dlsym(RTLD_DEFAULT, name)) {
    return symbol;
  }
  for (const char* library : kLibraries) {
    if (void* handle = dlopen(library, RTLD_NOW | RTLD_NOLOAD)) {
      void* symbol = dlsym(handle, name);
      dlclose(handle);  // the host holds it
      if (symbol != nullptr) {
        return symbol;
      }
    }
  }
  return nullptr;
}

}  // namespace dovetail::tensorrt
