// SPDX-License-Identifier: Apache-2.0
#include "tensorrt/logging.h"

#include <atomic>

#include "tensorrt/abi/logger_interface.h"
#include "tensorrt/engine_symbol.h"

namespace dovetail::tensorrt {
namespace {

std::atomic<void*> own_logger{nullptr};
std::atomic<void*> logger_finder{nullptr};

thread_local std::string last_message;

// The engine's objects are of the engine's classes; UBSan's vptr check would ask for ours.
#define DOVETAIL_FOREIGN_OBJECT __attribute__((no_sanitize("vptr")))

DOVETAIL_FOREIGN_OBJECT void* find_logger(void* finder) {
  switch (abi::form_of(finder)) {
    case abi::Form::kPlain:
      return static_cast<abi::PlainLoggerFinder*>(finder)->findLogger();
    case abi::Form::kVersioned:
      return static_cast<abi::VersionedLoggerFinder*>(finder)->findLogger();
    case abi::Form::kUnknown:
      return nullptr;
  }
  return nullptr;
}

void* current_logger() {
  if (void* logger = own_logger.load()) {
    return logger;
  }
  if (void* finder = logger_finder.load()) {
    if (void* logger = find_logger(finder)) {
      return logger;
    }
  }
  using GetLogger = void* (*)() noexcept;
  const auto get_logger = reinterpret_cast<GetLogger>(engine_symbol("getLogger"));
  return get_logger == nullptr ? nullptr : get_logger();
}

DOVETAIL_FOREIGN_OBJECT void log(void* logger, const char* message) {
  switch (abi::form_of(logger)) {
    case abi::Form::kPlain:
      static_cast<abi::PlainLogger*>(logger)->log(abi::Severity::kERROR, message);
      break;
    case abi::Form::kVersioned:
      static_cast<abi::VersionedLogger*>(logger)->log(abi::Severity::kERROR, message);
      break;
    case abi::Form::kUnknown:
      break;  // calling through the wrong table would end the process
  }
}

}  // namespace

void set_logger(void* logger) {
  own_logger.store(logger);
}
void set_logger_finder(void* finder) {
  logger_finder.store(finder);
}

void log_error(const std::string& message) noexcept {
  try {
    last_message = message;
    if (void* logger = current_logger()) {
      log(logger, message.c_str());
    }
  } catch (...) {  // a finder or logger that throws leaves nobody to tell
  }
}

const char* last_error() noexcept {
  return last_message.c_str();
}

}  // namespace dovetail::tensorrt
