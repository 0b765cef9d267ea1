// SPDX-License-Identifier: Apache-2.0
// The nanobind module dovetail._native: what src/ops and src/layout know, for Python. A Status that
// is not ok becomes dovetail.errors.DovetailError with the same message.
#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>

#include "bindings.h"
#include "dovetail/cpu.h"

namespace nb = nanobind;

namespace dovetail::python {

void raise(const Status& status) {
  const nb::object type = nb::module_::import_("dovetail.errors").attr("DovetailError");
  PyErr_SetString(type.ptr(), status.message().c_str());
  throw nb::python_error();
}

}  // namespace dovetail::python

NB_MODULE(_native, m) {
  m.doc() = "Declarations, layouts and packers of the C++ library.";
  dovetail::python::bind_schemas(m);
  dovetail::python::bind_int4(m);
  dovetail::python::bind_references(m);
  m.def(
      "cpu_tier",
      [] {
        return std::string(
            dovetail::name_of(dovetail::python::value_or_raise(dovetail::cpu_device(1)).tier));
      },
      "The instruction tier that runs here, or the one that DOVETAIL_CPU forces.");
}
