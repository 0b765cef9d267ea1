// SPDX-License-Identifier: Apache-2.0
// Search order of ONNX Runtime:
//   the option; $DOVETAIL_ONNXRUNTIME_LIBRARY; the path given when Dovetail was configured;
//   the wheel (onnxruntime/capi) in $VIRTUAL_ENV, in a .venv of this folder, of the program's
//   folder or of their parents, in the user's and the system's site-packages; the dynamic linker's
//   libonnxruntime.so
#include "runtime/onnxruntime_library.h"

#include <dlfcn.h>

#include <algorithm>
#include <string_view>
#include <system_error>
#include <vector>

#include "ops/message.h"
#include "runtime/operator_library.h"

// A path that CMake passes in; empty in a build that is to be moved elsewhere.
#ifndef DOVETAIL_ONNXRUNTIME_LIBRARY_HINT
#define DOVETAIL_ONNXRUNTIME_LIBRARY_HINT ""
#endif

namespace dovetail {
namespace {

namespace fs = std::filesystem;

// Entries of `folder` whose name starts with `prefix`, the highest name first.
std::vector<fs::path> entries(const fs::path& folder, std::string_view prefix) {
  std::vector<fs::path> found;
  std::error_code error;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    if (it->path().filename().string().starts_with(prefix)) {
      found.push_back(it->path());
    }
  }
  std::sort(found.rbegin(), found.rend());
  return found;
}

// libonnxruntime.so.* of the wheels in <prefix>/lib/python3*/{site,dist}-packages.
void add_wheels(const fs::path& prefix, std::vector<fs::path>& out) {
  for (const fs::path& python : entries(prefix / "lib", "python3")) {
    for (const char* packages : {"site-packages", "dist-packages"}) {
      const fs::path capi = python / packages / "onnxruntime" / "capi";
      for (const fs::path& library : entries(capi, "libonnxruntime.so")) {
        out.push_back(library);
      }
    }
  }
}

void add_wheels_above(fs::path folder, std::vector<fs::path>& out) {
  while (!folder.empty()) {
    add_wheels(folder / ".venv", out);
    if (folder == folder.parent_path()) {
      return;
    }
    folder = folder.parent_path();
  }
}

std::vector<fs::path> onnxruntime_candidates() {
  std::vector<fs::path> candidates;
  std::error_code error;
  if (const fs::path hint = DOVETAIL_ONNXRUNTIME_LIBRARY_HINT; fs::exists(hint, error)) {
    candidates.push_back(hint);
  }
  if (const fs::path venv = environment_path("VIRTUAL_ENV"); !venv.empty()) {
    add_wheels(venv, candidates);
  }
  add_wheels_above(fs::current_path(error), candidates);
  add_wheels_above(program_folder(), candidates);
  if (const fs::path home = environment_path("HOME"); !home.empty()) {
    add_wheels(home / ".local", candidates);
  }
  add_wheels("/usr/local", candidates);
  add_wheels("/usr", candidates);
  candidates.insert(candidates.end(), {"libonnxruntime.so", "libonnxruntime.so.1"});
  return candidates;
}

// `path` opened and its API table fetched.
Result<OnnxRuntimeLibrary> open_at(const fs::path& path) {
  void* handle = ::dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr) {
    return not_found("cannot open ", path.string(), ": ", ::dlerror());
  }
  using GetApiBase = const OrtApiBase* (*)();
  const auto get_api_base = reinterpret_cast<GetApiBase>(::dlsym(handle, "OrtGetApiBase"));
  if (get_api_base == nullptr) {
    return not_found(path.string(), " is not ONNX Runtime: it has no OrtGetApiBase");
  }
  const OrtApiBase* base = get_api_base();
  const OrtApi* api = base->GetApi(kOrtApi);
  if (api == nullptr) {
    return unsupported(path.string(), " is ONNX Runtime ", base->GetVersionString(),
                       ", expected 1.", kOrtApi, " or newer");
  }
  return OnnxRuntimeLibrary{api, base->GetVersionString(), path};
}

}  // namespace

Result<OnnxRuntimeLibrary> open_onnxruntime(const fs::path& requested) {
  const fs::path named =
      requested.empty() ? environment_path("DOVETAIL_ONNXRUNTIME_LIBRARY") : requested;
  if (!named.empty()) {
    return open_at(named);
  }
  Status first;
  for (const fs::path& candidate : onnxruntime_candidates()) {
    Result<OnnxRuntimeLibrary> library = open_at(candidate);
    if (library.ok()) {
      return library;
    }
    if (first.ok() && library.status().code() == StatusCode::kUnsupported) {
      first = library.status();
    }
  }
  DOVETAIL_RETURN_IF_ERROR(first);
  return not_found(
      "ONNX Runtime was not found in a Python environment or on the system: run `pip install "
      "onnxruntime`, or set DOVETAIL_ONNXRUNTIME_LIBRARY to the path of libonnxruntime.so");
}

}  // namespace dovetail
