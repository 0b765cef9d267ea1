// SPDX-License-Identifier: Apache-2.0
// Reader of safetensors files (https://github.com/huggingface/safetensors, format section):
//
//   | u64 header size n | n bytes of JSON: name -> {dtype, shape, data_offsets} | data |
//
// The file is mapped, so tensors cost nothing until they are read. Everything the header claims is
// checked against the file when it is opened: offsets inside the data, sizes that follow from dtype
// and shape, no holes and no overlap. A file that passes can be read without further checks.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "dovetail/tensor.h"
#include "runtime/memory_map.h"

namespace dovetail {

struct SafeTensor {
  std::string name;
  TensorDesc desc;
  std::span<const std::byte> data;  // inside the mapping; aligned to the element size
};

class SafeTensors {
 public:
  static Result<SafeTensors> open(const std::filesystem::path& path);

  std::span<const SafeTensor> tensors() const { return tensors_; }
  // The tensor of this name, or an error that names the file and the tensors it has.
  Result<SafeTensor> find(std::string_view name) const;

 private:
  SafeTensors(std::string file, MemoryMap map, std::vector<SafeTensor> tensors)
      : file_(std::move(file)), map_(std::move(map)), tensors_(std::move(tensors)) {}

  std::string file_;
  MemoryMap map_;
  std::vector<SafeTensor> tensors_;  // in the order of their data
};

}  // namespace dovetail
