// SPDX-License-Identifier: Apache-2.0
// ONNX Runtime, opened at run time: Dovetail links to no engine. Where it is looked for is written
// in this file's .cpp, in order; a library that the user names is used or refused, never replaced
// by another.
#pragma once

#include <onnxruntime_c_api.h>

#include <cstdint>
#include <filesystem>
#include <string>

#include "dovetail/status.h"

namespace dovetail {

struct OnnxRuntimeLibrary {
  const OrtApi* api = nullptr;
  std::string version;         // "1.32.0"
  std::filesystem::path path;  // of the shared library
};

// The API this runtime is written against; every newer ONNX Runtime serves it.
inline constexpr std::uint32_t kOrtApi = ORT_API_VERSION < 21 ? ORT_API_VERSION : 21;

// Opens `requested`, or with an empty path the first one found. The library stays loaded until the
// process ends: engines of the same library share it.
Result<OnnxRuntimeLibrary> open_onnxruntime(const std::filesystem::path& requested);

}  // namespace dovetail
