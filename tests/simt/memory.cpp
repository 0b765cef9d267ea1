// SPDX-License-Identifier: Apache-2.0
// Device memory lives in one arena: the running block's shared memory first, then global memory.
// Each byte has a Cell that says who wrote it last, who read it since, and from which line. Kernel
// sources are compiled with -fsanitize=thread, which makes the compiler call __tsan_readN /
// __tsan_writeN (below) before each load and store; those check the cells. No ThreadSanitizer
// library is linked.
//
// Two readers are kept per byte, of different warps where possible. A write that races with several
// reads is therefore found through one of them; a race only with a third reader can be missed.
#include "simt/memory.h"

#include <sys/mman.h>

#include <algorithm>
#include <bit>
#include <cstdio>
#include <new>

#include "simt/machine.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(address, bytes) ((void)(address), (void)(bytes))
#define ASAN_UNPOISON_MEMORY_REGION(address, bytes) ((void)(address), (void)(bytes))
#endif

extern "C" char __executable_start;

namespace dovetail::simt {
namespace {

// In a sanitizer build the kernels are not announced (the compiler instruments for one tool only):
// there AddressSanitizer does the bounds and the cells stay unused.
#if defined(DOVETAIL_SIMT_ANNOUNCED)
constexpr bool kAnnounced = true;
#else
constexpr bool kAnnounced = false;
#endif

constexpr size_t kSharedBytes = size_t{1} << 20, kArenaBytes = size_t{16} << 30, kRedZone = 256;
// Special values of Cell::write, below any stamp of a launch.
constexpr Stamp kRedZoneCell = 0, kUninitialised = 2, kInFlight = 4, kHost = 6;

// Where in the code: offset from the program's start, times two, plus one for a Site.
using Place = uint32_t;

struct Cell {
  Stamp write;
  Stamp read[2];
  Place write_place, read_place;
};
bool operator==(const Cell& a, const Cell& b) {
  return std::memcmp(&a, &b, sizeof(Cell)) == 0;
}

char* map_memory(size_t bytes) {
  void* map = mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (map == MAP_FAILED) throw std::bad_alloc();
  return static_cast<char*>(map);
}

char* const arena = map_memory(kArenaBytes);
Cell* const cells =
    kAnnounced ? reinterpret_cast<Cell*>(map_memory(kArenaBytes * sizeof(Cell))) : nullptr;
size_t global_end = kSharedBytes + kRedZone;
size_t live_buffers = 0;

struct StaticShared {
  const char* name;
  int line;
  size_t offset;
};
size_t dynamic_bytes = 0, shared_end = 0;
std::vector<StaticShared> statics;

// ---- messages
// -------------------------------------------------------------------------------------

struct At {
  Place place;
};
std::ostream& operator<<(std::ostream& out, At at) {
  const char* address = &__executable_start + (at.place >> 1);
  if (at.place & 1) return out << Where{std::bit_cast<Site>(address)};
  char command[512], line[512] = "";
  char self[256] = "";
  FILE* link = popen("readlink -f /proc/$PPID/exe", "r");
  if (link == nullptr) return out << static_cast<const void*>(address);
  const bool known = fgets(self, sizeof self, link) != nullptr;
  pclose(link);
  self[strcspn(self, "\n")] = 0;
  std::snprintf(command, sizeof command, "addr2line -e '%s' %#x 2>/dev/null", self,
                (at.place >> 1) - 1);
  FILE* pipe = known ? popen(command, "r") : nullptr;
  if (pipe == nullptr) return out << static_cast<const void*>(address);
  const bool found = fgets(line, sizeof line, pipe) != nullptr && line[0] != '?';
  pclose(pipe);
  if (!found) return out << static_cast<const void*>(address);
  line[strcspn(line, " \n")] = 0;
  const char* name = std::strrchr(line, '/');
  return out << (name != nullptr ? name + 1 : line);
}

Place place_of(const void* pc) {
  return static_cast<Place>(static_cast<const char*>(pc) - &__executable_start) << 1;
}
Place place_of(const Site& site) {
  return place_of(std::bit_cast<const void*>(site)) | 1;
}

struct Target {
  size_t offset;
};
std::ostream& operator<<(std::ostream& out, Target target) {
  if (target.offset >= kSharedBytes)
    return out << "global memory " << arena + target.offset - size_t{0};
  for (auto it = statics.rbegin(); it != statics.rend(); ++it) {
    if (target.offset + kRedZone / 2 >= it->offset) {
      return out << "shared memory " << it->name << " + "
                 << static_cast<int64_t>(target.offset - it->offset);
    }
  }
  return out << "dynamic shared memory (" << dynamic_bytes << " bytes) + "
             << static_cast<int64_t>(target.offset - kRedZone);
}

// ---- the check
// ------------------------------------------------------------------------------------

struct Check {
  Thread& thread;
  Stamp stamp;
  Access access;
  bool atomic;
  Place place;

  const char* verb() const { return access == Access::kRead ? "reads" : "writes"; }

  bool conflicts(Stamp earlier) const {
    if (earlier < kHost || (earlier >> 20) == (stamp >> 20)) return false;
    return !(atomic && (earlier & 1)) && !is_ordered(earlier, thread);
  }

  [[noreturn]] void bad(size_t offset, const char* what) const {
    fail(text(what, ": ", thread, ' ', verb(), ' ', Target{offset}, " at ", At{place}));
  }

  [[noreturn]] void race(size_t offset, Stamp other, const char* other_verb,
                         Place other_place) const {
    fail(text("race: ", thread, ' ', verb(), ' ', Target{offset}, " at ", At{place}, ", thread ",
              thread_of(other), " of block ", block_of(other), other_verb, At{other_place},
              (other >> 48) != machine.launch_number
                  ? " in an earlier kernel: wait_for_previous_kernel is missing"
                  : ", with no barrier between"));
  }

  void cell(Cell& c, size_t offset) const {
    if (c.write < kHost) {
      if (c.write == kRedZoneCell) bad(offset, "out of bounds");
      if (c.write == kInFlight) {
        fail(text("copy_async not waited for: ", thread, ' ', verb(), ' ', Target{offset}, " at ",
                  At{place}, " while the copy issued at ", At{c.write_place}, " is in flight"));
      }
      if (access == Access::kRead) bad(offset, "uninitialised");
    } else if (conflicts(c.write)) {
      race(offset, c.write, " wrote it at ", c.write_place);
    }
    if (access == Access::kWrite) {
      for (Stamp read : c.read) {
        if (conflicts(read)) race(offset, read, " read it at ", c.read_place);
      }
      c = {stamp, {0, 0}, place, 0};
    } else {
      remember_read(c);
    }
  }

  void remember_read(Cell& c) const {
    const auto replaceable = [&](Stamp read) {
      return read == 0 || (read >> 20) == (stamp >> 20) || is_ordered(read, thread);
    };
    const bool same_warp =
        (c.read[0] >> 25) == (c.read[1] >> 25) && (c.read[0] >> 25) != stamp >> 25;
    if (replaceable(c.read[0])) {
      c.read[0] = stamp;
    } else if (replaceable(c.read[1]) || same_warp) {
      c.read[1] = stamp;
    } else {
      return;
    }
    c.read_place = place;
  }
};

void check_cells(size_t offset, size_t bytes, Access access, bool atomic, Place place) {
  Thread& thread = *machine.current;
  ++machine.counters.checked_accesses;
  const Check check{thread, stamp_of(thread) | (atomic ? 1 : 0), access, atomic, place};
  Cell* c = cells + offset;
  Cell before = c[0];
  check.cell(c[0], offset);
  for (size_t i = 1; i < bytes; ++i) {
    if (c[i] == before) {  // the usual case: neighbours share their history
      c[i] = c[i - 1];
    } else {
      before = c[i];
      check.cell(c[i], offset + i);
    }
  }
}

size_t offset_of(const void* address) {
  return static_cast<size_t>(static_cast<const char*>(address) - arena);
}

void check_place(const void* address, size_t bytes, Access access, bool atomic, Place place) {
  if constexpr (!kAnnounced) return;
  if (machine.current == nullptr) return;
  const size_t offset = offset_of(address);
  if (offset >= kArenaBytes) {
    fail(text("out of bounds: ", *machine.current, " at ", At{place}, " uses ", address,
              ", which is not device memory"));
  }
  check_cells(offset, bytes, access, atomic, place);
}

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

// ---- shared and global memory
// ---------------------------------------------------------------------

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

// ---- cp.async
// -------------------------------------------------------------------------------------

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

// ---- atomics
// --------------------------------------------------------------------------------------

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

}  // namespace dovetail::simt

// ---- what -fsanitize=thread calls
// -----------------------------------------------------------------

#if defined(DOVETAIL_SIMT_ANNOUNCED)
namespace dovetail::simt {
namespace {

// One announced access of a kernel; the compiler calls this for stack variables too.
template <size_t Bytes>
inline void announced(const void* address, Access access, const void* pc) {
  const size_t offset = offset_of(address);
  if (offset >= kArenaBytes || machine.current == nullptr) return;
  if (Bytes <= 16 && offset % Bytes != 0) {
    fail(text("misaligned: ", *machine.current, " accesses ", Bytes, " bytes at ", address, ", ",
              At{place_of(pc)}));
  }
  check_cells(offset, Bytes, access, false, place_of(pc));
}

void announced_range(const void* address, size_t bytes, Access access, const void* pc) {
  const size_t offset = offset_of(address);
  if (offset >= kArenaBytes || machine.current == nullptr || bytes == 0) return;
  check_cells(offset, bytes, access, false, place_of(pc));
}

}  // namespace
}  // namespace dovetail::simt

namespace simt = dovetail::simt;
#define DOVETAIL_ANNOUNCED(bytes)                                                             \
  extern "C" void __tsan_read##bytes(void* address) {                                         \
    simt::announced<bytes>(address, simt::Access::kRead, __builtin_return_address(0));        \
  }                                                                                           \
  extern "C" void __tsan_write##bytes(void* address) {                                        \
    simt::announced<bytes>(address, simt::Access::kWrite, __builtin_return_address(0));       \
  }                                                                                           \
  extern "C" void __tsan_unaligned_read##bytes(void* address) {                               \
    simt::announced_range(address, bytes, simt::Access::kRead, __builtin_return_address(0));  \
  }                                                                                           \
  extern "C" void __tsan_unaligned_write##bytes(void* address) {                              \
    simt::announced_range(address, bytes, simt::Access::kWrite, __builtin_return_address(0)); \
  }
DOVETAIL_ANNOUNCED(1)
DOVETAIL_ANNOUNCED(2)
DOVETAIL_ANNOUNCED(4)
DOVETAIL_ANNOUNCED(8)
DOVETAIL_ANNOUNCED(16)
extern "C" void __tsan_read_range(void* address, size_t bytes) {
  simt::announced_range(address, bytes, simt::Access::kRead, __builtin_return_address(0));
}
extern "C" void __tsan_write_range(void* address, size_t bytes) {
  simt::announced_range(address, bytes, simt::Access::kWrite, __builtin_return_address(0));
}
extern "C" void __tsan_vptr_update(void**, void*) {}
extern "C" void __tsan_vptr_read(void**) {}
extern "C" void __tsan_init() {}
#endif
