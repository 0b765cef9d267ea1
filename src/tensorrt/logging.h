// SPDX-License-Identifier: Apache-2.0
// Where failures go: the engine's logger. It comes from initDovetailPlugins, from the finder that
// the host passed to setLoggerFinder, or from the engine library's getLogger() when that symbol is
// in the process. guarded() wraps every engine callback: no exception leaves it, no reason is lost.
#pragma once

#include <exception>
#include <string>

#include "dovetail/status.h"

namespace dovetail::tensorrt {

// An nvinfer1::ILogger* and ILoggerFinder* of the host's TensorRT (abi/logger_interface.h).
void set_logger(void* logger);
void set_logger_finder(void* finder);
void log_error(const std::string& message) noexcept;
// The last message of log_error on this thread, for hosts whose engine has no logger; "" when none.
const char* last_error() noexcept;

// Runs `body`, which returns Status; logs a failure. True when it succeeded.
template <class Body>
bool guarded(const char* callback, Body body) noexcept {
  try {
    const Status status = body();
    if (!status.ok()) {
      log_error(status.message());
    }
    return status.ok();
  } catch (const std::exception& error) {
    log_error(std::string("dovetail: ") + callback + ": " + error.what());
  } catch (...) {
    log_error(std::string("dovetail: ") + callback + ": unknown exception");
  }
  return false;
}

}  // namespace dovetail::tensorrt
