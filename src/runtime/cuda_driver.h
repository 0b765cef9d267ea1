// SPDX-License-Identifier: Apache-2.0
// GPU memory beside an engine's own: the few calls of the CUDA driver's library that this takes,
// opened at run time like every engine. Device 0 and its primary context, which CUDA's runtime (and
// so ONNX Runtime) uses too.
#pragma once

#include <cstddef>
#include <memory>

#include "dovetail/status.h"

namespace dovetail {

class CudaDriver {
 public:
  struct Calls;
  struct Free {
    const CudaDriver* driver = nullptr;
    void operator()(void* device) const;
  };
  using Block = std::unique_ptr<void, Free>;

  ~CudaDriver();
  // Opened once; stays until the process ends.
  static Result<const CudaDriver*> open();

  Result<Block> allocate(std::size_t bytes) const;
  // Done when they return.
  Status copy_in(void* device, const void* host, std::size_t bytes) const;
  Status copy_out(void* host, const void* device, std::size_t bytes) const;

 private:
  explicit CudaDriver(std::unique_ptr<const Calls> calls);
  static Result<std::unique_ptr<const CudaDriver>> load();

  std::unique_ptr<const Calls> calls_;
};

}  // namespace dovetail
