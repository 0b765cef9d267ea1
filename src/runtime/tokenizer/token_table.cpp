// SPDX-License-Identifier: Apache-2.0
// See token_table.h.
#include "runtime/tokenizer/token_table.h"

#include <algorithm>
#include <bit>
#include <functional>

namespace dovetail::tokenizer {
namespace {

constexpr std::size_t kFewestSlots = 16;

std::size_t slots_for(std::size_t count) {
  return std::bit_ceil(std::max(kFewestSlots, 2 * count));
}

std::uint32_t hash_of(std::string_view text) {
  return static_cast<std::uint32_t>(std::hash<std::string_view>{}(text));
}

std::uint64_t pair_of(std::int32_t left, std::int32_t right) {
  return static_cast<std::uint64_t>(static_cast<std::uint32_t>(left)) << 32 |
         static_cast<std::uint32_t>(right);
}

}  // namespace

TokenTable::TokenTable(std::size_t count, std::size_t id_limit)
    : places_(id_limit), slots_(slots_for(count)) {
  texts_.reserve(8 * count);
}

// The slot that holds `text`, or the empty one where it belongs.
std::size_t TokenTable::slot_of(std::string_view text, std::uint32_t hash) const {
  const std::size_t mask = slots_.size() - 1;
  std::size_t at = hash & mask;
  while (slots_[at].id >= 0 && (slots_[at].hash != hash || *this->text(slots_[at].id) != text)) {
    at = (at + 1) & mask;
  }
  return at;
}

bool TokenTable::add(std::string_view text, std::int32_t id) {
  Place& place = places_[static_cast<std::size_t>(id)];
  if (place.length >= 0) {
    return false;
  }
  place = {static_cast<std::uint32_t>(texts_.size()), static_cast<std::int32_t>(text.size())};
  texts_ += text;
  const std::uint32_t hash = hash_of(text);
  Slot& slot = slots_[slot_of(text, hash)];
  if (slot.id < 0) {
    slot = {hash, id};
    ++size_;
  }
  return true;
}

std::optional<std::int32_t> TokenTable::find(std::string_view text) const {
  if (slots_.empty()) {
    return std::nullopt;
  }
  const Slot& slot = slots_[slot_of(text, hash_of(text))];
  return slot.id < 0 ? std::nullopt : std::optional(slot.id);
}

std::optional<std::string_view> TokenTable::text(std::int32_t id) const {
  if (id < 0 || static_cast<std::size_t>(id) >= places_.size()) {
    return std::nullopt;
  }
  const Place& place = places_[static_cast<std::size_t>(id)];
  if (place.length < 0) {
    return std::nullopt;
  }
  return std::string_view(texts_).substr(place.begin, static_cast<std::size_t>(place.length));
}

MergeTable::MergeTable(std::size_t count) : slots_(slots_for(count)) {}

std::size_t MergeTable::slot_of(std::uint64_t pair) const {
  const std::size_t mask = slots_.size() - 1;
  // Fibonacci hashing (Knuth, volume 3, 6.4): the upper bits of the product are well mixed.
  std::size_t at = pair * 0x9E3779B97F4A7C15u >> 32 & mask;
  while (slots_[at].pair != kEmpty && slots_[at].pair != pair) {
    at = (at + 1) & mask;
  }
  return at;
}

void MergeTable::add(std::int32_t left, std::int32_t right, Merge merge) {
  const std::uint64_t pair = pair_of(left, right);
  slots_[slot_of(pair)] = {pair, merge};
}

const Merge* MergeTable::find(std::int32_t left, std::int32_t right) const {
  if (slots_.empty()) {
    return nullptr;
  }
  const Slot& slot = slots_[slot_of(pair_of(left, right))];
  return slot.pair == kEmpty ? nullptr : &slot.merge;
}

}  // namespace dovetail::tokenizer
