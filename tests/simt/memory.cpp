// SPDX-License-Identifier: Apache-2.0
#include "simt/memory.h"

#include <sys/mman.h>

#include <algorithm>
#include <bit>
#include <new>

#include "simt/arena.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(address, bytes) ((void)(address), (void)(bytes))
#define ASAN_UNPOISON_MEMORY_REGION(address, bytes) ((void)(address), (void)(bytes))
#endif

namespace dovetail::simt {
namespace {

template <class T>
T* map_memory(size_t count) {
  void* map = mmap(nullptr, count * sizeof(T), PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (map == MAP_FAILED) throw std::bad_alloc();
  return static_cast<T*>(map);
}

}  // namespace

char* const arena = map_memory<char>(kArenaBytes);
Cell* const cells = kAnnounced ? map_memory<Cell>(kArenaBytes) : nullptr;

namespace {

size_t global_end = kSharedBytes + kRedZone;
size_t live_buffers = 0;

struct StaticShared {
  const char* name;
  int line;
  size_t offset;
};
size_t dynamic_bytes = 0, shared_end = kRedZone;
std::vector<StaticShared> statics;

// Opens [offset, offset + bytes) between red zones; returns where the next one may start.
size_t open_region(size_t offset, size_t bytes, Stamp state) {
  ASAN_POISON_MEMORY_REGION(arena + offset - kRedZone, kRedZone);
  ASAN_UNPOISON_MEMORY_REGION(arena + offset, bytes);
  std::memset(arena + offset, 0xff, bytes);
  set_cells(arena + offset, bytes, state);
  const size_t end = (offset + bytes + kRedZone - 1) / kRedZone * kRedZone + kRedZone;
  ASAN_POISON_MEMORY_REGION(arena + offset + bytes, end - offset - bytes);
  return end;
}

}  // namespace

void set_cells(const void* address, size_t bytes, Stamp write, Place place) {
  if constexpr (kAnnounced) {
    std::fill_n(cells + offset_of(address), bytes, Cell{write, {0, 0}, place, 0});
  }
}

std::ostream& operator<<(std::ostream& out, Target target) {
  if (target.offset >= kSharedBytes)
    return out << "global memory " << static_cast<const void*>(arena + target.offset);
  for (auto it = statics.rbegin(); it != statics.rend(); ++it) {
    if (target.offset + kRedZone / 2 >= it->offset) {
      return out << "shared memory " << it->name << " + "
                 << static_cast<int64_t>(target.offset - it->offset);
    }
  }
  return out << "dynamic shared memory (" << dynamic_bytes << " bytes) + "
             << static_cast<int64_t>(target.offset - kRedZone);
}

// ---- shared and global memory ----

void begin_shared_memory(uint32_t bytes) {
  set_cells(arena, shared_end, kRedZoneCell);
  ASAN_UNPOISON_MEMORY_REGION(arena, kSharedBytes);
  statics.clear();
  dynamic_bytes = bytes;
  shared_end = open_region(kRedZone, bytes, kUninitialised);
}

void* dynamic_shared() {
  return arena + kRedZone;
}

void* static_shared(const char* name, int line, size_t bytes) {
  for (const StaticShared& s : statics) {
    if (s.line == line && s.name == name) return arena + s.offset;
  }
  statics.push_back({name, line, shared_end});
  shared_end = open_region(shared_end, bytes, kUninitialised);
  if (shared_end > kSharedBytes) fail(text("static shared memory ", name, " does not fit"));
  return arena + statics.back().offset;
}

void* allocate_global(size_t bytes, bool initialised) {
  if (global_end + bytes + 2 * kRedZone > kArenaBytes) throw std::bad_alloc();
  const size_t offset = global_end;
  global_end = open_region(offset, bytes, initialised ? kHost : kUninitialised);
  ++live_buffers;
  return arena + offset;
}

void free_global(void* pointer, size_t bytes) {
  set_cells(pointer, bytes, kRedZoneCell);
  ASAN_POISON_MEMORY_REGION(pointer, bytes);
  if (--live_buffers == 0) global_end = kSharedBytes + kRedZone;
}

// ---- atomics ----

uint32_t atomic(uint32_t* address, AtomicOp op, uint32_t operand, Site site) {
  Thread& self = *machine.current;
  const bool loads = op == AtomicOp::kLoadAcquire, stores = op == AtomicOp::kStoreRelease;
  const bool both = op == AtomicOp::kAddAcquireRelease, relaxed = op == AtomicOp::kAdd;
  Known& released = machine.released[address];
  // The exchange of knowledge comes first: the words a release orders include the atomic itself.
  if (loads || both) self.known = merged(self.known, released);
  if (relaxed) self.to_acquire = merged(self.to_acquire, released);
  check_aligned(address, 4, place_of(site));
  if (!stores) check_bytes(address, 4, Access::kRead, place_of(site), /*atomic=*/true);
  if (!loads) check_bytes(address, 4, Access::kWrite, place_of(site), /*atomic=*/true);
  const uint32_t old = *address;
  if (stores) *address = operand;
  if (both || relaxed) *address = old + operand;
  if (op == AtomicOp::kAddFloat) {
    *address = std::bit_cast<uint32_t>(std::bit_cast<float>(old) + std::bit_cast<float>(operand));
  }
  if (relaxed) released = merged(released, self.at_fence);
  if (stores || both) {
    released = merged(released, progress_of(self));
    ++self.clock;
  }
  return old;
}

void claim(uint64_t* address, uint64_t value, uint64_t mask, Site site) {
  check_aligned(address, 8, place_of(site));
  check_bytes(address, 8, Access::kWrite, place_of(site), /*atomic=*/true);
  if (((*address ^ value) & mask) != 0) *address = value;
}

}  // namespace dovetail::simt
