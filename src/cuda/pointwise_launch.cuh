// SPDX-License-Identifier: Apache-2.0
// What the launches of the operators between the matrices (SwiGLU, ResidualRMSNorm) share: the check
// of their pointers, and the kernel of an activation type.
#pragma once

#include <cstdint>
#include <initializer_list>

#include "cuda/ptx/number.cuh"
#include "dovetail/tensor.h"
#include "ops/message.h"

namespace dovetail::cuda {

struct NamedPointer {
  const char* name;
  const void* pointer;
};

// Bytes at which an activation must lie: of a vector where a thread takes vectors, else its own.
inline std::size_t activation_alignment(bool vectors, DataType type) {
  return vectors ? 16 : size_of(type);
}

inline Status check_pointers(const char* operation, std::size_t alignment,
                             std::initializer_list<NamedPointer> pointers) {
  for (const auto& [name, pointer] : pointers) {
    if (pointer == nullptr) return invalid_argument(operation, ": ", name, " is null");
    if (reinterpret_cast<std::uintptr_t>(pointer) % alignment != 0) {
      return invalid_argument(operation, ": ", name, " is at ", pointer,
                              ", expected a multiple of ", alignment);
    }
  }
  return Status::success();
}

// launch.operator()<T, vectors>(): T is the number type of `type` in device code.
template <class Launch>
Status launch_of(DataType type, bool vectors, const Launch& launch) {
  const auto of = [&]<class T>() {
    return vectors ? launch.template operator()<T, true>() : launch.template operator()<T, false>();
  };
  switch (type) {
    case DataType::kFloat16:
      return of.template operator()<ptx::Half>();
    case DataType::kBFloat16:
      return of.template operator()<ptx::BFloat16>();
    default:
      return of.template operator()<float>();
  }
}

}  // namespace dovetail::cuda
