// SPDX-License-Identifier: Apache-2.0
#include "tensorrt/logging.h"

#include <dlfcn.h>

#include <atomic>

namespace dovetail::tensorrt {
namespace {

std::atomic<nvinfer1::ILogger*> own_logger{nullptr};
std::atomic<nvinfer1::ILoggerFinder*> logger_finder{nullptr};

thread_local std::string last_message;

nvinfer1::ILogger* current_logger() {
  if (nvinfer1::ILogger* logger = own_logger.load()) {
    return logger;
  }
  if (nvinfer1::ILoggerFinder* finder = logger_finder.load()) {
    if (nvinfer1::ILogger* logger = finder->findLogger()) {
      return logger;
    }
  }
  using GetLogger = nvinfer1::ILogger* (*)() noexcept;
  const auto get_logger = reinterpret_cast<GetLogger>(dlsym(RTLD_DEFAULT, "getLogger"));
  return get_logger == nullptr ? nullptr : get_logger();
}

}  // namespace

void set_logger(nvinfer1::ILogger* logger) { own_logger.store(logger); }
void set_logger_finder(nvinfer1::ILoggerFinder* finder) { logger_finder.store(finder); }

void log_error(const std::string& message) noexcept {
  try {
    last_message = message;
    if (nvinfer1::ILogger* logger = current_logger()) {
      logger->log(nvinfer1::ILogger::Severity::kERROR, message.c_str());
    }
  } catch (...) {  // a finder or logger that throws leaves nobody to tell
  }
}

const char* last_error() noexcept { return last_message.c_str(); }

}  // namespace dovetail::tensorrt
