// SPDX-License-Identifier: Apache-2.0
// TensorRT, opened at run time like every engine, and a logger that keeps what it says for our
// messages. Compiled against the headers of the SDK (-DTensorRT_ROOT=), whose major version the
// library must have.
#pragma once

#include <NvInferRuntime.h>

#include <filesystem>
#include <memory>
#include <mutex>
#include <string>

#include "dovetail/status.h"

namespace dovetail {

// The first error of TensorRT, or of a plugin in it, since the last one was taken.
class TensorRtLogger final : public nvinfer1::ILogger {
 public:
  void log(Severity severity, const char* message) noexcept override;
  bool has_error();
  // `action` and the error, which is forgotten.
  Status take(const std::string& action);

 private:
  std::mutex mutex_;
  std::string first_error_;
};

// A runtime of the library at `requested`; empty: $DOVETAIL_TENSORRT_LIBRARY, then the dynamic
// linker's libnvinfer.so.<major>. The logger outlives it.
Result<std::unique_ptr<nvinfer1::IRuntime>> open_tensorrt(const std::filesystem::path& requested,
                                                          TensorRtLogger& logger);

}  // namespace dovetail
