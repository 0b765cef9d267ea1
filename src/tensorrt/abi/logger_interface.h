// SPDX-License-Identifier: Apache-2.0
// TensorRT's logger and logger finder. Their tables of virtual functions differ between hosts:
//
//   slot       0               1                 2, 3         4
//   plain      log / find      destructors                                TensorRT 8.6 to 10
//   versioned  getAPILanguage  getInterfaceInfo  destructors  log / find  TensorRT 11, for RTX 1.7
//
// One plugin library serves all of them, also when it is built against one vendor's headers, so
// both forms are declared here, and form_of() tells them apart by the run-time type that every C++
// object carries.
#pragma once

#include <cstdint>

namespace dovetail::tensorrt::abi {

enum class Severity : std::int32_t {
  kINTERNAL_ERROR = 0,
  kERROR = 1,
  kWARNING = 2,
  kINFO = 3,
  kVERBOSE = 4,
};
struct InterfaceInfo {
  const char* kind;
  std::int32_t major;
  std::int32_t minor;
};

class PlainLogger {
 public:
  virtual void log(Severity severity, const char* message) noexcept = 0;
  virtual ~PlainLogger() = default;
};
class PlainLoggerFinder {
 public:
  virtual void* findLogger() = 0;
  virtual ~PlainLoggerFinder() = default;
};

class VersionedInterface {
 public:
  virtual std::int32_t getAPILanguage() const noexcept = 0;
  virtual InterfaceInfo getInterfaceInfo() const noexcept = 0;
  virtual ~VersionedInterface() noexcept = default;
};
class VersionedLogger : public VersionedInterface {
 public:
  virtual void log(Severity severity, const char* message) noexcept = 0;
};
class VersionedLoggerFinder : public VersionedInterface {
 public:
  virtual void* findLogger() = 0;
};

enum class Form { kPlain, kVersioned, kUnknown };

// Whether the class of a logger or finder derives from nvinfer1::IVersionedInterface. kUnknown when
// the object carries no run-time type (built with -fno-rtti).
Form form_of(const void* object) noexcept;

}  // namespace dovetail::tensorrt::abi
