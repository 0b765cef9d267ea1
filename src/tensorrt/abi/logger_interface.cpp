// SPDX-License-Identifier: Apache-2.0
#include "tensorrt/abi/logger_interface.h"

#include <cxxabi.h>

#include <cstring>
#include <typeinfo>

namespace dovetail::tensorrt::abi {
namespace {

// Itanium C++ ABI: the word before the first virtual function is the address of the type_info.
const std::type_info* run_time_type(const void* object) {
  const std::type_info* const* table;
  std::memcpy(&table, object, sizeof table);
  return table[-1];
}

bool derives_from(const std::type_info& type, const char* mangled_name) {
  if (std::strcmp(type.name(), mangled_name) == 0) {
    return true;
  }
  if (const auto* single = dynamic_cast<const __cxxabiv1::__si_class_type_info*>(&type)) {
    return derives_from(*single->__base_type, mangled_name);
  }
  if (const auto* several = dynamic_cast<const __cxxabiv1::__vmi_class_type_info*>(&type)) {
    for (unsigned i = 0; i < several->__base_count; ++i) {
      if (derives_from(*several->__base_info[i].__base_type, mangled_name)) {
        return true;
      }
    }
  }
  return false;
}

}  // namespace

Form form_of(const void* object) noexcept {
  const std::type_info* type = run_time_type(object);
  if (type == nullptr) {
    return Form::kUnknown;
  }
  return derives_from(*type, "N8nvinfer119IVersionedInterfaceE") ? Form::kVersioned : Form::kPlain;
}

}  // namespace dovetail::tensorrt::abi
