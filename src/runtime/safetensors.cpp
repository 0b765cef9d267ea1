// SPDX-License-Identifier: Apache-2.0
#include "runtime/safetensors.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>

#include "ops/message.h"

namespace dovetail {
namespace {

using Json = nlohmann::json;

constexpr std::size_t kSizeField = 8;
constexpr std::uint64_t kMaxHeader = 100'000'000;  // the limit of the reference implementation

struct NamedType {
  const char* name;
  DataType type;
};
constexpr NamedType kTypes[] = {
    {"F32", DataType::kFloat32},        {"F16", DataType::kFloat16}, {"BF16", DataType::kBFloat16},
    {"F8_E4M3", DataType::kFloat8E4M3}, {"I8", DataType::kInt8},     {"I32", DataType::kInt32},
    {"I64", DataType::kInt64},
};

std::optional<DataType> type_named(std::string_view name) {
  for (const NamedType& known : kTypes) {
    if (name == known.name) {
      return known.type;
    }
  }
  return std::nullopt;
}

bool is_array_of_sizes(const Json& value, std::size_t min_size, std::size_t max_size) {
  return value.is_array() && value.size() >= min_size && value.size() <= max_size &&
         std::all_of(value.begin(), value.end(),
                     [](const Json& item) { return item.is_number_unsigned(); });
}

// The bytes that `shape` needs, or nothing when the product overflows.
std::optional<std::uint64_t> bytes_of(const std::vector<std::uint64_t>& shape, DataType type) {
  std::uint64_t bytes = size_of(type);
  for (const std::uint64_t dim : shape) {
    if (dim != 0 && bytes > std::numeric_limits<std::int64_t>::max() / dim) {
      return std::nullopt;
    }
    bytes *= dim;
  }
  return bytes;
}

// One header entry; `data` is everything behind the header.
Result<SafeTensor> read_entry(const std::string& file, const std::string& name, const Json& entry,
                              std::span<const std::byte> data) {
  const auto corrupt = [&](const auto&... parts) {
    return data_loss(file, ": tensor ", name, " ", parts...);
  };
  if (!entry.is_object() || !entry.contains("dtype") || !entry["dtype"].is_string() ||
      !entry.contains("shape") || !is_array_of_sizes(entry["shape"], 0, Shape::kMaxRank) ||
      !entry.contains("data_offsets") || !is_array_of_sizes(entry["data_offsets"], 2, 2)) {
    return corrupt("has a header entry without a valid dtype, shape (rank 0 to ", Shape::kMaxRank,
                   ") and data_offsets");
  }
  const auto type_name = entry["dtype"].get<std::string>();
  const std::optional<DataType> type = type_named(type_name);
  if (!type) {
    return unsupported(file, ": tensor ", name, " has dtype ", type_name,
                       ", expected F32, F16, BF16, F8_E4M3, I8, I32 or I64");
  }
  const auto dims = entry["shape"].get<std::vector<std::uint64_t>>();
  const auto begin = entry["data_offsets"][0].get<std::uint64_t>();
  const auto end = entry["data_offsets"][1].get<std::uint64_t>();
  const Shape shape(std::vector<std::int64_t>(dims.begin(), dims.end()));
  if (begin > end || end > data.size()) {
    return corrupt("claims bytes ", begin, " to ", end, " of the data, but the file holds only ",
                   data.size(), " (is it truncated?)");
  }
  if (bytes_of(dims, *type) != end - begin) {
    return corrupt("is ", shape, " of ", *type, " but has ", end - begin, " bytes");
  }
  const std::span<const std::byte> bytes = data.subspan(begin, end - begin);
  if (reinterpret_cast<std::uintptr_t>(bytes.data()) % size_of(*type) != 0) {
    return corrupt("does not start at a multiple of its element size");
  }
  return SafeTensor{name, {*type, shape}, bytes};
}

}  // namespace

Result<SafeTensors> SafeTensors::open(const std::filesystem::path& path) {
  Result<MemoryMap> map = MemoryMap::open(path);
  if (!map.ok()) {
    return map.status();
  }
  const std::string file = path.string();
  const std::span<const std::byte> bytes = map->bytes();
  std::uint64_t header_bytes = 0;
  if (bytes.size() < kSizeField) {
    return data_loss(file, ": ", bytes.size(), " bytes are too few for a safetensors file");
  }
  std::memcpy(&header_bytes, bytes.data(), kSizeField);
  if (header_bytes > kMaxHeader || header_bytes > bytes.size() - kSizeField) {
    return data_loss(file, ": the header claims ", header_bytes, " bytes, but the file has ",
                     bytes.size(), " (is it truncated, or not a safetensors file?)");
  }
  const char* text = reinterpret_cast<const char*>(bytes.data() + kSizeField);
  const Json header = Json::parse(text, text + header_bytes, nullptr, /*allow_exceptions=*/false);
  if (!header.is_object()) {
    return data_loss(file, ": the header is not a JSON object");
  }
  const std::span<const std::byte> data = bytes.subspan(kSizeField + header_bytes);
  std::vector<SafeTensor> tensors;
  for (const auto& [name, entry] : header.items()) {
    if (name == "__metadata__") {
      continue;
    }
    Result<SafeTensor> tensor = read_entry(file, name, entry, data);
    if (!tensor.ok()) {
      return tensor.status();
    }
    tensors.push_back(std::move(*tensor));
  }
  std::stable_sort(tensors.begin(), tensors.end(), [](const SafeTensor& a, const SafeTensor& b) {
    return a.data.data() != b.data.data() ? a.data.data() < b.data.data()
                                          : a.data.size() < b.data.size();
  });
  const std::byte* expected = data.data();
  for (const SafeTensor& tensor : tensors) {
    if (tensor.data.data() != expected) {
      return data_loss(file, ": tensor ", tensor.name, " starts at byte ",
                       tensor.data.data() - data.data(), " of the data, expected ",
                       expected - data.data(), " (a hole or an overlap)");
    }
    expected += tensor.data.size();
  }
  if (expected != data.data() + data.size()) {
    return data_loss(file, ": ", data.data() + data.size() - expected,
                     " bytes behind the last tensor belong to none");
  }
  return SafeTensors(file, std::move(*map), std::move(tensors));
}

Result<SafeTensor> SafeTensors::find(std::string_view name) const {
  std::string known;
  for (const SafeTensor& tensor : tensors_) {
    if (tensor.name == name) {
      return tensor;
    }
    known += (known.empty() ? "" : ", ") + tensor.name;
  }
  return not_found(file_, ": no tensor ", name, "; it has ", known.empty() ? "none" : known);
}

}  // namespace dovetail
