// SPDX-License-Identifier: Apache-2.0
// Text <-> id of a vocabulary, and pair of ids -> merge: flat tables with linear probing. A map of
// nodes is three times slower to fill, and a vocabulary of 128,000 tokens is filled at every load.
//
// The texts stand one behind the other in one string; ids may have gaps.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace dovetail::tokenizer {

class TokenTable {
 public:
  TokenTable() = default;
  // For `count` tokens of ids below `id_limit`.
  TokenTable(std::size_t count, std::size_t id_limit);

  // Whether `id` was free. A text that is known keeps its first id.
  bool add(std::string_view text, std::int32_t id);

  std::optional<std::int32_t> find(std::string_view text) const;
  // Nothing when no token has this id.
  std::optional<std::string_view> text(std::int32_t id) const;
  std::size_t size() const { return size_; }
  std::size_t id_limit() const { return places_.size(); }

 private:
  struct Place {
    std::uint32_t begin = 0;
    std::int32_t length = -1;  // -1: no token has this id
  };
  struct Slot {
    std::uint32_t hash = 0;
    std::int32_t id = -1;  // -1: empty
  };
  std::size_t slot_of(std::string_view text, std::uint32_t hash) const;

  std::string texts_;
  std::vector<Place> places_;  // by id
  std::vector<Slot> slots_;    // a power of two, at most half full
  std::size_t size_ = 0;
};

struct Merge {
  std::uint32_t rank = 0;
  std::int32_t id = 0;
};

class MergeTable {
 public:
  MergeTable() = default;
  explicit MergeTable(std::size_t count);

  // The last one of equal pairs counts.
  void add(std::int32_t left, std::int32_t right, Merge merge);
  const Merge* find(std::int32_t left, std::int32_t right) const;

 private:
  struct Slot {
    std::uint64_t pair = kEmpty;
    Merge merge;
  };
  static constexpr std::uint64_t kEmpty = ~std::uint64_t{0};  // ids are not negative
  std::size_t slot_of(std::uint64_t pair) const;

  std::vector<Slot> slots_;
};

}  // namespace dovetail::tokenizer
