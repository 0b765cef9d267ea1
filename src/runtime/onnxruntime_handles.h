// SPDX-License-Identifier: Apache-2.0
// Owners of ONNX Runtime's C handles, and its errors as Status. Release functions come from the API
// table of the library that was opened, so an owner carries one.
#pragma once

#include <onnxruntime_c_api.h>

#include <algorithm>
#include <memory>
#include <string>
#include <string_view>

#include "ops/message.h"

namespace dovetail {

template <class T>
using OrtOwner = std::unique_ptr<T, void (*)(T*)>;

// Calls that fill in a handle: `OrtOwner<OrtEnv> env(nullptr, api.ReleaseEnv);
// DOVETAIL_RETURN_IF_ERROR(to_status(api, api.CreateEnv(..., OrtFill(env))));`
template <class T>
class OrtFill {
 public:
  explicit OrtFill(OrtOwner<T>& owner) : owner_(owner) {}
  ~OrtFill() { owner_.reset(handle_); }
  OrtFill(const OrtFill&) = delete;
  OrtFill& operator=(const OrtFill&) = delete;
  operator T**() { return &handle_; }  // NOLINT(google-explicit-constructor)

 private:
  OrtOwner<T>& owner_;
  T* handle_ = nullptr;
};

// ONNX Runtime wraps a kernel's message in "Non-zero status code ... Status Message: <message>".
// Only that message is kept, on one line.
inline std::string kernel_message(std::string_view text) {
  constexpr std::string_view kMark = "Status Message: ";
  if (const std::size_t at = text.rfind(kMark); at != std::string_view::npos) {
    text.remove_prefix(at + kMark.size());
  }
  std::string line(text);
  std::replace(line.begin(), line.end(), '\n', ' ');
  line.erase(line.find_last_not_of(' ') + 1);
  return line;
}

// Takes the OrtStatus; null is success.
inline Status to_status(const OrtApi& api, OrtStatus* status, std::string_view action) {
  if (status == nullptr) {
    return Status::success();
  }
  Status result = internal_error("onnxruntime: cannot ", action, ": ",
                                 kernel_message(api.GetErrorMessage(status)));
  api.ReleaseStatus(status);
  return result;
}

}  // namespace dovetail
