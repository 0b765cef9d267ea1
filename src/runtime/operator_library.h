// SPDX-License-Identifier: Apache-2.0
// Where Dovetail's operators for an engine are: the option; an environment variable; the program's
// folder; ../lib beside it; the build tree; the dynamic linker. A library that the user names is
// used or refused, never replaced by another.
#pragma once

#include <filesystem>

#include "dovetail/status.h"

namespace dovetail {

// libdovetail_onnxruntime.so, or what $DOVETAIL_OPERATOR_LIBRARY names.
Result<std::filesystem::path> find_operator_library(const std::filesystem::path& requested);

// libdovetail_tensorrt.so, or what $DOVETAIL_PLUGIN_LIBRARY names.
Result<std::filesystem::path> find_plugin_library(const std::filesystem::path& requested);

// The folder of the program or shared library that holds this code.
std::filesystem::path program_folder();

// The value of an environment variable; empty when it is not set.
std::filesystem::path environment_path(const char* name);

}  // namespace dovetail
