// SPDX-License-Identifier: Apache-2.0
// Builders for the one-sentence error messages: concat("scales is ", shape, ", expected ", n).
#pragma once

#include <sstream>
#include <string>

#include "dovetail/status.h"

namespace dovetail {

template <class... Parts>
std::string concat(const Parts&... parts) {
  std::ostringstream out;
  (out << ... << parts);
  return std::move(out).str();
}

template <class... Parts>
Status invalid_argument(const Parts&... parts) {
  return {StatusCode::kInvalidArgument, concat(parts...)};
}

template <class... Parts>
Status unsupported(const Parts&... parts) {
  return {StatusCode::kUnsupported, concat(parts...)};
}

template <class... Parts>
Status not_found(const Parts&... parts) {
  return {StatusCode::kNotFound, concat(parts...)};
}

template <class... Parts>
Status data_loss(const Parts&... parts) {
  return {StatusCode::kDataLoss, concat(parts...)};
}

template <class... Parts>
Status resource_exhausted(const Parts&... parts) {
  return {StatusCode::kResource, concat(parts...)};
}

template <class... Parts>
Status internal_error(const Parts&... parts) {
  return {StatusCode::kInternal, concat(parts...)};
}

}  // namespace dovetail
