// SPDX-License-Identifier: Apache-2.0
#include "runtime/package.h"

#include <iterator>
#include <string_view>
#include <system_error>
#include <vector>

#include "ops/message.h"

namespace dovetail {
namespace {

namespace fs = std::filesystem;

// What the runtime opens whatever the manifest lists, beside the graph or the engine.
constexpr const char* kRequired[] = {"embedding.safetensors", "rope.safetensors", "tokenizer.json"};

Status check_files(const fs::path& folder, const Manifest& manifest) {
  for (const auto& [name, bytes] : manifest.file_bytes) {
    std::error_code error;
    const std::uintmax_t size = fs::file_size(folder / name, error);
    if (error) {
      return not_found((folder / name).string(),
                       " is missing: the manifest lists it, so the package is incomplete");
    }
    if (size != bytes) {
      return data_loss((folder / name).string(), " has ", size, " bytes, the manifest says ", bytes,
                       " (is it truncated, or from another export?)");
    }
  }
  std::vector<const char*> required = {manifest.builder.empty() ? kGraphFile : kEngineFile};
  required.insert(required.end(), std::begin(kRequired), std::end(kRequired));
  for (const char* name : required) {
    std::error_code error;
    if (!fs::is_regular_file(folder / name, error)) {
      return not_found((folder / name).string(), " is missing, a package needs it");
    }
  }
  return Status::success();
}

// Of a package, or of an engine folder.
Result<Manifest> open_manifest(const fs::path& folder) {
  std::error_code error;
  const bool engine = fs::exists(folder / kEngineFile, error);
  const fs::path path = folder / (engine ? "config.json" : "manifest.json");
  if (!fs::exists(path, error)) {
    return not_found(folder.string(), " has no ", path.filename().string(),
                     ": not a package, or an export that did not finish");
  }
  const Result<MemoryMap> file = MemoryMap::open(path);
  if (!file.ok()) {
    return file.status();
  }
  const std::string_view text(reinterpret_cast<const char*>(file->bytes().data()),
                              file->bytes().size());
  return engine ? parse_engine_config(text, path.string()) : parse_manifest(text, path.string());
}

Status check_embedding(const Package& p) {
  const TensorDesc& desc = p.embedding.desc;
  const Shape expected{p.manifest.model.vocab_size, p.manifest.model.hidden_size};
  if (desc.shape != expected) {
    return data_loss(p.file("embedding.safetensors").string(), ": embedding is ", desc.shape,
                     ", expected [vocab_size, hidden_size] = ", expected);
  }
  if (desc.type != DataType::kFloat32 && desc.type != DataType::kFloat16 &&
      desc.type != DataType::kBFloat16) {
    return data_loss(p.file("embedding.safetensors").string(), ": embedding is ", desc.type,
                     ", expected fp32, fp16 or bf16");
  }
  return Status::success();
}

Status check_rope(const Package& p) {
  const TensorDesc& desc = p.rope_table.desc;
  const Shape expected{1, p.manifest.capacity, p.manifest.model.rotary_width};
  if (desc.shape != expected || desc.type != DataType::kFloat32) {
    return data_loss(p.file("rope.safetensors").string(), ": rope_rotary_cos_sin is ", desc.shape,
                     " of ", desc.type, ", expected [1, capacity, rotary_width] = ", expected,
                     " of fp32");
  }
  return Status::success();
}

}  // namespace

Result<Package> Package::open(const fs::path& folder) {
  std::error_code error;
  if (!fs::is_directory(folder, error)) {
    return not_found(folder.string(), " is not a folder, expected a package of `dovetail export`");
  }
  Result<Manifest> manifest = open_manifest(folder);
  if (!manifest.ok()) {
    return manifest.status();
  }
  DOVETAIL_RETURN_IF_ERROR(check_files(folder, *manifest));
  Result<SafeTensors> embedding_file = SafeTensors::open(folder / "embedding.safetensors");
  if (!embedding_file.ok()) {
    return embedding_file.status();
  }
  Result<SafeTensor> embedding = embedding_file->find("embedding");
  if (!embedding.ok()) {
    return embedding.status();
  }
  Result<SafeTensors> rope_file = SafeTensors::open(folder / "rope.safetensors");
  if (!rope_file.ok()) {
    return rope_file.status();
  }
  Result<SafeTensor> rope_table = rope_file->find("rope_rotary_cos_sin");
  if (!rope_table.ok()) {
    return rope_table.status();
  }
  Package package{.folder = folder,
                  .manifest = std::move(*manifest),
                  .embedding_file = std::move(*embedding_file),
                  .rope_file = std::move(*rope_file),
                  .embedding = std::move(*embedding),
                  .rope_table = std::move(*rope_table)};
  DOVETAIL_RETURN_IF_ERROR(check_embedding(package));
  DOVETAIL_RETURN_IF_ERROR(check_rope(package));
  return package;
}

std::uint64_t Package::total_bytes() const {
  std::uint64_t total = 0;
  for (const auto& [name, bytes] : manifest.file_bytes) {
    total += bytes;
  }
  return total;
}

}  // namespace dovetail
