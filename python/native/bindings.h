// SPDX-License-Identifier: Apache-2.0
// What the files of this folder share: bind functions, and how a Status becomes an exception.
#pragma once

#include <nanobind/nanobind.h>

#include <utility>

#include "dovetail/status.h"

namespace dovetail::python {

[[noreturn]] void raise(const Status& status);

template <class T>
T value_or_raise(Result<T> result) {
  if (!result.ok()) {
    raise(result.status());
  }
  return std::move(*result);
}

void bind_schemas(nanobind::module_& m);     // operators: attributes, inputs, outputs
void bind_int4(nanobind::module_& m);        // int4 layouts, packers, quantizer
void bind_references(nanobind::module_& m);  // the operators in fp64

}  // namespace dovetail::python
