// SPDX-License-Identifier: Apache-2.0
// A model package on disk (docs/package.md), or the engine folder that `dovetail build` made of one
// (docs/tensorrt.md), opened: the manifest is read, every file it lists is
// there in its size, and the two tables that the runtime itself uses are mapped and checked.
//
//   embedding   [V, H]     any float type: rows become inputs_embeds
//   rope_table  [1, C, R]  fp32: bound to the graph as it lies in the file
#pragma once

#include <filesystem>

#include "runtime/manifest.h"
#include "runtime/safetensors.h"

namespace dovetail {

inline constexpr const char* kGraphFile = "model.onnx";
inline constexpr const char* kEngineFile = "llm.engine";  // of `dovetail build`, in its place

struct Package {
  std::filesystem::path folder;
  Manifest manifest;
  SafeTensors embedding_file;
  SafeTensors rope_file;
  SafeTensor embedding;
  SafeTensor rope_table;

  static Result<Package> open(const std::filesystem::path& folder);

  std::filesystem::path file(const char* name) const { return folder / name; }
  // Bytes of all files on disk.
  std::uint64_t total_bytes() const;
};

}  // namespace dovetail
