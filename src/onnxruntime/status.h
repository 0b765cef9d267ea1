// SPDX-License-Identifier: Apache-2.0
// The border between Dovetail's values and ONNX Runtime's C interface: statuses in both directions,
// element types, and the one wrapper that every callback goes through: no exception leaves us.
#pragma once

#include <onnxruntime_c_api.h>

#include <exception>
#include <new>
#include <optional>
#include <string>

#include "dovetail/status.h"
#include "dovetail/tensor.h"
#include "ops/message.h"

namespace dovetail::ort {

// ONNX Runtime serves an old version of its API forever, so the lowest one that will do runs on the
// most releases. 1.18 has every call we make, but takes no output types from shape inference.
inline constexpr std::uint32_t kApiVersion = 19;

// Null when ok; else a status with our message, which the host releases.
OrtStatus* to_ort(const OrtApi& api, const Status& status) noexcept;

// Takes over a status of the host.
Status from_ort(const OrtApi& api, OrtStatus* status);

std::optional<DataType> data_type(ONNXTensorElementDataType type);
ONNXTensorElementDataType element_type(DataType type);
// For messages about types that no operator takes: "float64", "uint8", ...
const char* name_of(ONNXTensorElementDataType type);

// Calls body() -> Status; an exception becomes a Status.
template <class Body>
OrtStatus* guarded(const OrtApi& api, Body&& body) noexcept {
  try {
    return to_ort(api, body());
  } catch (const std::bad_alloc&) {
    return to_ort(api, Status(StatusCode::kResource, "out of memory"));
  } catch (const std::exception& error) {
    return api.CreateStatus(ORT_RUNTIME_EXCEPTION, error.what());
  } catch (...) {
    return api.CreateStatus(ORT_RUNTIME_EXCEPTION, "unknown exception");
  }
}

}  // namespace dovetail::ort
