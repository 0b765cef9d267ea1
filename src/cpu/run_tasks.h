// SPDX-License-Identifier: Apache-2.0
// Tasks 0 .. count - 1 of a piece of work, on the caller's pool; one alone, or without a pool all in
// turn, on the calling thread.
#pragma once

#include <cstdint>

#include "dovetail/cpu.h"

namespace dovetail {

template <auto Method, class Work>
void run_tasks(const Work& work, std::int64_t count, const TaskRunner& tasks) {
  if (count <= 1 || tasks.parallel_for == nullptr) {
    for (std::int64_t i = 0; i < count; ++i) (work.*Method)(i);
    return;
  }
  tasks.parallel_for(
      tasks.context, static_cast<std::size_t>(count),
      [](void* arg, std::size_t i) {
        (static_cast<const Work*>(arg)->*Method)(static_cast<std::int64_t>(i));
      },
      const_cast<Work*>(&work));
}

}  // namespace dovetail
