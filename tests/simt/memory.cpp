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

char* map_memory(size_t bytes) {
  void* map = mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (map == MAP_FAILED) throw std::bad_alloc();
  return static_cast<char*>(map);
}

}  // namespace

char* const arena = map_memory(kArenaBytes);
Cell* const cells =
    kAnnounced ? reinterpret_cast<Cell*>(map_memory(kArenaBytes * sizeof(Cell))) : nullptr;

namespace {

size_t global_end = kSharedBytes + kRedZone;
size_t live_buffers = 0;

struct StaticShared {
  const char* name;
  int line;
  size_t offset;
};
size_t dynamic_bytes = 0, shared_end = 0;
std::vector<StaticShared> statics;

void set_cells(size_t offset, size_t bytes, Stamp write, Place place = 0) {
  if constexpr (kAnnounced) std::fill_n(cells + offset, bytes, Cell{write, {0, 0}, place, 0});
}

// Opens [offset, offset + bytes) between red zones; returns where the next one may start.
size_t open_region(size_t offset, size_t bytes, Stamp state) {
  ASAN_POISON_MEMORY_REGION(arena + offset - kRedZone, kRedZone);
  ASAN_UNPOISON_MEMORY_REGION(arena + offset, bytes);
  std::memset(arena + offset, 0xff, bytes);
  set_cells(offset, bytes, state);
  const size_t end = (offset + bytes + kRedZone - 1) / kRedZone * kRedZone + kRedZone;
  ASAN_POISON_MEMORY_REGION(arena + offset + bytes, end - offset - bytes);
  return end;
}

}  // namespace

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
  set_cells(0, std::max<size_t>(shared_end, kRedZone), kRedZoneCell);
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
  set_cells(offset_of(pointer), bytes, kRedZoneCell);
  ASAN_POISON_MEMORY_REGION(pointer, bytes);
  if (--live_buffers == 0) global_end = kSharedBytes + kRedZone;
}

void check_access(const void* address, size_t bytes, Access access, Site site) {
  if (offset_of(address) % bytes != 0) {
    fail(text("misaligned: ", *machine.current, " accesses ", bytes, " bytes at ", address, ", ",
              Where{site}));
  }
  check_place(address, bytes, access, false, place_of(site));
}

// ---- cp.async ----

void copy_async(void* shared, const void* global, uint32_t bytes, uint32_t source_bytes,
                Site site) {
  Thread& self = *machine.current;
  const bool aligned =
      (offset_of(shared) | (source_bytes != 0 ? offset_of(global) : 0)) % bytes == 0;
  if (!aligned || source_bytes > bytes || offset_of(shared) >= kSharedBytes) {
    fail(text("copy_async at ", Where{site}, ", ", self, ": ", bytes, " bytes from ", global,
              " to ", Target{offset_of(shared)}, " (source bytes ", source_bytes,
              "): both addresses must be aligned to the size, the target shared"));
  }
  check_access(shared, bytes, Access::kWrite, site);
  set_cells(offset_of(shared), bytes, kInFlight, place_of(site));
  self.open_group.push_back(
      {static_cast<char*>(shared), static_cast<const char*>(global), bytes, source_bytes, site});
}

void copy_async_commit() {
  Thread& self = *machine.current;
  self.groups.push_back(std::move(self.open_group));
  self.open_group.clear();
}

void copy_async_wait(int pending) {
  Thread& self = *machine.current;
  while (self.groups.size() > static_cast<size_t>(pending)) {
    for (const AsyncCopy& copy : self.groups.front()) {
      if (copy.source_bytes != 0) {
        check_place(copy.global, copy.source_bytes, Access::kRead, false, place_of(copy.site));
        std::memcpy(copy.shared, copy.global, copy.source_bytes);
      }
      std::memset(copy.shared + copy.source_bytes, 0, copy.bytes - copy.source_bytes);
      set_cells(offset_of(copy.shared), copy.bytes, stamp_of(self), place_of(copy.site));
    }
    self.groups.pop_front();
  }
}

void finish_async_copies(Thread& thread) {
  if (!thread.open_group.empty()) thread.groups.push_back(std::move(thread.open_group));
  for (const auto& group : thread.groups) {
    if (!group.empty()) {
      fail(text("copy_async not waited for: ", thread, " left the kernel while the copy issued at ",
                Where{group.front().site}, " is in flight"));
    }
  }
}

// ---- atomics ----

uint32_t atomic(uint32_t* address, AtomicOp op, uint32_t operand, Site site) {
  Thread& self = *machine.current;
  const bool reads_only = op == AtomicOp::kLoadAcquire;
  const bool strong = op != AtomicOp::kAdd && op != AtomicOp::kAddFloat;
  if (offset_of(address) % 4 != 0) fail(text("atomic at ", Where{site}, " is misaligned"));
  if (!reads_only && op != AtomicOp::kStoreRelease && kAnnounced &&
      offset_of(address) < kArenaBytes && cells[offset_of(address)].write == kUninitialised) {
    fail(text("uninitialised: ", self, " adds to ", Target{offset_of(address)}, " at ",
              Where{site}));
  }
  // The exchange of knowledge comes first: the words a release orders include the atomic itself.
  if (op == AtomicOp::kLoadAcquire || op == AtomicOp::kAddAcquireRelease) {
    acquire_from(reinterpret_cast<uintptr_t>(address), self, /*at_next_fence=*/false);
  } else if (op == AtomicOp::kAdd) {
    acquire_from(reinterpret_cast<uintptr_t>(address), self, /*at_next_fence=*/true);
  }
  check_place(address, 4, reads_only ? Access::kRead : Access::kWrite, true, place_of(site));
  const uint32_t old = *address;
  if (op == AtomicOp::kStoreRelease) *address = operand;
  if (op == AtomicOp::kAddAcquireRelease || op == AtomicOp::kAdd) *address = old + operand;
  if (op == AtomicOp::kAddFloat) {
    *address = std::bit_cast<uint32_t>(std::bit_cast<float>(old) + std::bit_cast<float>(operand));
  }
  if (strong && !reads_only) {
    release_to(reinterpret_cast<uintptr_t>(address), knowledge_of(self));
    advance_clock(self);
  } else if (op == AtomicOp::kAdd && self.at_fence != nullptr) {
    release_to(reinterpret_cast<uintptr_t>(address), *self.at_fence);
  }
  return old;
}

void claim(uint64_t* address, uint64_t value, uint64_t mask, Site site) {
  if (offset_of(address) % 8 != 0) fail(text("claim at ", Where{site}, " is misaligned"));
  check_place(address, 8, Access::kWrite, true, place_of(site));
  if (((*address ^ value) & mask) != 0) *address = value;
}

}  // namespace dovetail::simt
