// SPDX-License-Identifier: Apache-2.0
#include "simt/memory.h"

#include <sys/mman.h>

#include <algorithm>
#include <bit>
#include <new>

#include "simt/machine.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(address, bytes) ((void)(address), (void)(bytes))
#define ASAN_UNPOISON_MEMORY_REGION(address, bytes) ((void)(address), (void)(bytes))
#endif

namespace dovetail::simt {
namespace {

constexpr size_t kRedZone = 256;

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

// Dynamic shared memory, then the variables; at the same place in the window of each block.
struct Shared {
  const char* name;
  int line;
  size_t offset, bytes;
};
size_t shared_end = kRedZone;
uint32_t shared_windows = 0;
std::vector<Shared> shared;

char* shared_window() {
  return arena + machine.current->block->rank * kSharedWindow;
}

void set_cells(const void* address, size_t bytes, Stamp write, Place place = 0) {
  if constexpr (kAnnounced) {
    std::fill_n(cells + offset_of(address), bytes, Cell{write, {0, 0}, place, 0});
  }
}

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

std::ostream& operator<<(std::ostream& out, Target target) {
  auto it = shared.rbegin();
  if (target.offset >= kSharedBytes)
    return out << "global memory " << static_cast<const void*>(arena + target.offset);
  const size_t offset = target.offset % kSharedWindow;
  while (it->offset > offset + kRedZone / 2) ++it;
  return out << "shared memory " << it->name << " (" << it->bytes << " bytes) + "
             << static_cast<int64_t>(offset - it->offset);
}

// ---- shared and global memory ----

namespace {

size_t open_shared(const char* name, int line, size_t bytes) {
  const size_t offset = shared_end;
  if (offset + bytes + 2 * kRedZone > kSharedWindow) fail("shared memory ", name, " does not fit");
  shared.push_back({name, line, offset, bytes});
  for (uint32_t i = 0; i < shared_windows; ++i) {
    shared_end = open_region(i * kSharedWindow + offset, bytes, kUninitialised) - i * kSharedWindow;
  }
  return offset;
}

}  // namespace

void begin_shared_memory(uint32_t bytes, uint32_t blocks) {
  for (uint32_t i = 0; i < shared_windows; ++i) {
    set_cells(arena + i * kSharedWindow, shared_end, kRedZoneCell);
  }
  ASAN_UNPOISON_MEMORY_REGION(arena, kSharedBytes);
  shared.clear();
  shared_end = kRedZone;
  shared_windows = blocks;
  open_shared("dynamic", 0, bytes);
}

void check_neighbours_done(const Block& left) {
  Known known;
  for (const Thread& thread : left.threads) known = merged(known, thread.known);
  const auto foreign = [&](Stamp stamp) {
    return stamp > kHost && block_of(stamp) != left.number && !is_ordered(stamp, *known);
  };
  for (size_t at = left.rank * kSharedWindow; kAnnounced && at % kSharedWindow < shared_end; ++at) {
    const Cell& c = cells[at];
    for (const Stamp stamp : {c.write, c.read[0], c.read[1]}) {
      if (foreign(stamp)) {
        fail("a cluster barrier is missing: block ", left.number, " left the kernel while thread ",
             thread_of(stamp), " of block ", block_of(stamp), " used its ", Target{at});
      }
    }
  }
}

void* dynamic_shared() {
  return shared_window() + kRedZone;
}

void* static_shared(const char* name, int line, size_t bytes) {
  for (const Shared& s : shared) {
    if (s.line == line && s.name == name) return shared_window() + s.offset;
  }
  return shared_window() + open_shared(name, line, bytes);
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
    advance_clock(self);
  }
  return old;
}

void claim(uint64_t* address, uint64_t value, uint64_t mask, Site site) {
  check_aligned(address, 8, place_of(site));
  check_bytes(address, 8, Access::kWrite, place_of(site), /*atomic=*/true);
  if (((*address ^ value) & mask) != 0) *address = value;
}

// ---- what runs behind the program ----
//
// Each thread keeps what it started in order and in groups; the wait that covers a group does its
// work, never earlier. So a value that is used too early is an old one, and memory that is
// overwritten too early races with the work at the wait.

namespace {

Groups& groups_of(Pipe pipe) {
  return machine.current->pipes[static_cast<int>(pipe)];
}

template <class T>
bool holds(std::span<const T> registers, const void* address) {
  return address >= registers.data() && address < registers.data() + registers.size();
}

}  // namespace

void copy_async(void* to, const void* from, uint32_t bytes, uint32_t source_bytes, Site site,
                bool ahead) {
  const Place place = place_of(site);
  if (source_bytes > bytes || offset_of(to) >= kSharedBytes) {
    fail("copy_async at ", site, ", ", *machine.current, ": ", source_bytes, " of ", bytes,
         " bytes to ", Target{offset_of(to)}, ", which must be shared");
  }
  if (source_bytes != 0) check_aligned(from, bytes, place);
  check_access(to, bytes, Access::kWrite, site);
  set_cells(to, bytes, kCopyInFlight, place);
  const auto finish = [=] {
    if (source_bytes != 0) {
      if (!ahead) check_bytes(from, source_bytes, Access::kRead, place);
      std::memcpy(to, from, source_bytes);
      for (uint32_t i = 0; ahead && i < source_bytes; ++i) {
        if (!is_readable(static_cast<const char*>(from) + i, place)) static_cast<char*>(to)[i] = -1;
      }
    }
    std::memset(static_cast<char*>(to) + source_bytes, 0, bytes - source_bytes);
    set_cells(to, bytes, machine.current->stamp, place);
  };
  Groups& copies = groups_of(Pipe::kCopy);
  copies.work.push_back({copies.open, site, finish, {}, {}});
}

void multiply_async(std::span<const float> accumulators, std::span<const uint32_t> a, Site site,
                    std::function<void()> finish) {
  Groups& products = groups_of(Pipe::kProduct);
  products.work.push_back({products.open, site, std::move(finish), accumulators, a});
}

void commit(Pipe pipe) {
  ++groups_of(pipe).open;
}

void wait(Pipe pipe, uint32_t pending) {
  auto& [open, work] = groups_of(pipe);
  auto next = work.begin();
  for (; next != work.end() && next->group + pending < open; ++next) next->finish();
  work.erase(work.begin(), next);
}

const InFlight* product_using(const void* address, Access access) {
  for (const InFlight& product : groups_of(Pipe::kProduct).work) {
    if (holds(product.accumulators, address)) return &product;
    if (access == Access::kWrite && holds(product.operands, address)) return &product;
  }
  return nullptr;
}

void check_nothing_in_flight(const Thread& leaving) {
  for (const Groups& groups : leaving.pipes) {
    if (groups.work.empty()) continue;
    fail(&groups == leaving.pipes ? "copy_async" : "wgmma", " not waited for: ", leaving,
         " left the kernel while that of ", groups.work.front().site, " is in flight");
  }
}

}  // namespace dovetail::simt
