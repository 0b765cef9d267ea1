// SPDX-License-Identifier: Apache-2.0
// Errors as values. The library never prints, throws across its boundary, aborts or resets a
// device: a function that can fail returns Status, or Result<T> = a T or the Status that says why
// there is none. A message names op, tensor, got and expected:
//   "int4_gemm: scales is [32, 4096], expected [64, 4096]"
#pragma once

#include <optional>
#include <string>
#include <utility>

namespace dovetail {

enum class StatusCode {
  kOk = 0,
  kInvalidArgument,  // the caller's input breaks the contract
  kUnsupported,      // valid input that no kernel, layout, tokenizer or engine here serves
  kNotFound,         // a file, tensor, symbol or tier is missing
  kDataLoss,         // a file is truncated, corrupt or from a newer version
  kResource,         // memory, disk or the KV capacity is exhausted
  kInternal,         // a defect of the library or a failure of the engine below it
};

class [[nodiscard]] Status {
 public:
  Status() = default;
  Status(StatusCode code, std::string message) : code_(code), message_(std::move(message)) {}

  static Status success() { return {}; }

  bool ok() const { return code_ == StatusCode::kOk; }
  StatusCode code() const { return code_; }
  const std::string& message() const { return message_; }

 private:
  StatusCode code_ = StatusCode::kOk;
  std::string message_;
};

// A value, or the reason why there is none. value(), * and -> require ok().
template <class T>
class [[nodiscard]] Result {
 public:
  Result(T value) : value_(std::move(value)) {}          // NOLINT(google-explicit-constructor)
  Result(Status status) : status_(std::move(status)) {}  // NOLINT(google-explicit-constructor)

  bool ok() const { return value_.has_value(); }
  const Status& status() const { return status_; }
  T& value() & { return *value_; }
  const T& value() const& { return *value_; }
  T&& value() && { return *std::move(value_); }
  T& operator*() { return *value_; }
  const T& operator*() const { return *value_; }
  T* operator->() { return &*value_; }
  const T* operator->() const { return &*value_; }

 private:
  Status status_;
  std::optional<T> value_;
};

}  // namespace dovetail

// Returns the Status of `expr` from the enclosing function when it is not ok.
#define DOVETAIL_RETURN_IF_ERROR(expr)                        \
  do {                                                        \
    if (::dovetail::Status status_ = (expr); !status_.ok()) { \
      return status_;                                         \
    }                                                         \
  } while (false)
