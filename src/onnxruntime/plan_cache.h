// SPDX-License-Identifier: Apache-2.0
// The plans of one node, by input shapes: a decode step finds its plan with one comparison.
// Concurrent Run calls share the cache; an entry that is replaced stays valid for its holders.
#pragma once

#include <array>
#include <cstddef>
#include <memory>
#include <mutex>
#include <utility>

namespace dovetail::ort {

template <class Key, class Entry>
class PlanCache {
 public:
  std::shared_ptr<const Entry> find(const Key& key) {
    const std::lock_guard lock(mutex_);
    for (std::size_t i = 0; i < used_; ++i) {
      if (slots_[i].first == key) {
        if (i != 0) {
          std::swap(slots_[i], slots_[i - 1]);  // a frequent shape drifts to the front
        }
        return slots_[i == 0 ? 0 : i - 1].second;
      }
    }
    return nullptr;
  }

  // The last slot is the one that was asked for least lately.
  void insert(const Key& key, std::shared_ptr<const Entry> entry) {
    const std::lock_guard lock(mutex_);
    if (used_ < kSlots) {
      ++used_;
    }
    slots_[used_ - 1] = {key, std::move(entry)};
  }

 private:
  // Prefill chunk, its rest, decode, tree, for a handful of batch sizes.
  static constexpr std::size_t kSlots = 8;
  std::mutex mutex_;
  std::array<std::pair<Key, std::shared_ptr<const Entry>>, kSlots> slots_;
  std::size_t used_ = 0;
};

}  // namespace dovetail::ort
