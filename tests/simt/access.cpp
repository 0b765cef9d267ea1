// SPDX-License-Identifier: Apache-2.0
// Kernel sources are compiled with -fsanitize=thread, which makes the compiler call __tsan_readN /
// __tsan_writeN (below) before each load and store; those check the cells. No ThreadSanitizer
// library is linked.
//
// Two readers are kept per byte, of different warps where possible. A write that races with several
// reads is therefore found through one of them; a race only with a third reader can be missed.
#include <dlfcn.h>

#include <bit>
#include <cstdio>

#include "simt/machine.h"

extern "C" const char __ehdr_start[];  // of the program, or library, that this is linked into

namespace dovetail::simt {
namespace {

bool operator==(const Cell& a, const Cell& b) {
  return std::memcmp(&a, &b, sizeof(Cell)) == 0;
}

struct At {
  Place place;
};
using simt::operator<<;  // of Site, whose namespace is another
std::ostream& operator<<(std::ostream& out, At at) {
  const char* address = __ehdr_start + (at.place >> 1);
  if (at.place & 1) return out << std::bit_cast<Site>(address);
  Dl_info module{};
  dladdr(__ehdr_start, &module);
  char command[512], line[512];
  std::snprintf(command, sizeof command, "addr2line -s -e '%s' %#x 2>/dev/null", module.dli_fname,
                (at.place >> 1) - 1);
  FILE* const pipe = popen(command, "r");
  if (pipe == nullptr || fgets(line, sizeof line, pipe) == nullptr) std::strcpy(line, "? ");
  if (pipe != nullptr) pclose(pipe);
  return out << std::string_view(line, std::strcspn(line, " \n"));
}

Place place_of(const void* pc) {
  return static_cast<Place>(static_cast<const char*>(pc) - __ehdr_start) << 1;
}

struct Check {
  Thread& thread;
  Stamp stamp;
  Access access;
  Place place;

  friend std::ostream& operator<<(std::ostream& out, const Check& c) {
    return out << c.thread << (c.access == Access::kWrite ? " writes " : " reads ");
  }

  bool ordered(Stamp earlier) const {
    return earlier <= kHost || (earlier >> 20) == (stamp >> 20) ||
           is_ordered(earlier, *thread.known);
  }
  bool conflicts(Stamp earlier) const { return !(earlier & stamp & 1) && !ordered(earlier); }

  void unusual(const Cell& c, size_t offset) const {
    const char* what = c.write == kRedZoneCell ? "out of bounds: " : "uninitialised: ";
    if (c.write == kCopyInFlight) {
      fail("copy_async not waited for: ", *this, Target{offset}, " at ", At{place},
           " while the copy issued at ", At{c.write_place}, " is in flight");
    }
    if (c.write == kRedZoneCell || access != Access::kWrite)
      fail(what, *this, Target{offset}, " at ", At{place});
  }

  [[noreturn]] void race(size_t offset, Stamp other, const char* verb, Place other_place) const {
    fail("race: ", *this, Target{offset}, " at ", At{place}, ", thread ", thread_of(other),
         " of block ", block_of(other), verb, At{other_place},
         (other >> 48) != machine.launch_number
             ? " in an earlier kernel: wait_for_previous_kernel is missing"
             : ", with no barrier between");
  }

  void cell(Cell& c, size_t offset) const {
    if (c.write < kHost) unusual(c, offset);
    if (conflicts(c.write)) race(offset, c.write, " wrote it at ", c.write_place);
    if (access != Access::kWrite) return read(c, offset);
    for (Stamp reader : c.read) {
      if (conflicts(reader)) race(offset, reader, " read it at ", c.read_place);
    }
    c = {stamp, {0, 0}, place, 0};
  }

  void read(Cell& c, size_t offset) const {
    if (access == Access::kProductRead &&
        thread.block->threads[thread_of(c.write)].fenced < clock_of(c.write)) {
      fail("fence_shared_for_wgmma is missing: ", *this, Target{offset}, " through the product at ",
           At{place}, ", thread ", thread_of(c.write), " wrote it at ", At{c.write_place});
    }
    const auto warp = [](Stamp of) { return of >> 25; };
    if (ordered(c.read[0])) {
      c.read[0] = stamp;
    } else if (ordered(c.read[1]) ||
               (warp(c.read[0]) == warp(c.read[1]) && warp(c.read[0]) != warp(stamp))) {
      c.read[1] = stamp;
    } else {
      return;
    }
    c.read_place = place;
  }
};

}  // namespace

Place place_of(const Site& site) {
  return place_of(std::bit_cast<const void*>(site)) | 1;
}

void check_aligned(const void* address, size_t bytes, Place place) {
  if (offset_of(address) % bytes != 0) {
    fail("misaligned: ", *machine.current, " accesses ", bytes, " bytes at ", address, ", ",
         At{place});
  }
}

void check_bytes(const void* address, size_t bytes, Access access, Place place, bool atomic) {
  if (!kAnnounced || machine.current == nullptr) return;
  Thread& thread = *machine.current;
  const size_t offset = offset_of(address);
  if (offset >= kArenaBytes) {
    fail("out of bounds: ", thread, " at ", At{place}, " uses ", address,
         ", which is not device memory");
  }
  ++machine.counters.checked_accesses;
  const Check check{thread, thread.stamp | (atomic ? 1 : 0), access, place};
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

bool is_readable(const void* address, Place place) {
  if (!kAnnounced) return true;
  const size_t offset = offset_of(address);
  const Thread& thread = *machine.current;
  if (offset >= kArenaBytes || cells[offset].write == kRedZoneCell) {
    fail("out of bounds: ", thread, " reads ahead ", address, " at ", At{place});
  }
  const Stamp write = cells[offset].write;
  return write == kHost ||
         (write > kHost && (write >> 20 == thread.stamp >> 20 || is_ordered(write, *thread.known)));
}

void check_access(const void* address, size_t bytes, Access access, Site site) {
  check_aligned(address, bytes, place_of(site));
  check_bytes(address, bytes, access, place_of(site));
}

}  // namespace dovetail::simt

// ---- what -fsanitize=thread calls ----

#if defined(DOVETAIL_SIMT_ANNOUNCED)
namespace dovetail::simt {
namespace {

// One access of a kernel. The compiler announces variables on the stack too, those whose address
// somebody took: the registers of a product are among them.
inline void announced(const void* address, size_t bytes, bool aligned, Access access,
                      const void* pc) {
  if (machine.current == nullptr || bytes == 0) return;
  const bool in_arena = offset_of(address) < kArenaBytes;
  if (in_arena && aligned) check_aligned(address, bytes, place_of(pc));
  if (in_arena) return check_bytes(address, bytes, access, place_of(pc));
  if (const InFlight* product = product_using(address, access)) {
    fail("wgmma not waited for: ", *machine.current, " at ", At{place_of(pc)},
         " uses registers of the product at ", product->site);
  }
}

}  // namespace
}  // namespace dovetail::simt

namespace simt = dovetail::simt;
#define DOVETAIL_ANNOUNCE(name, bytes, aligned, access, ...)                       \
  extern "C" void __tsan_##name(void* address __VA_OPT__(, ) __VA_ARGS__) {        \
    simt::announced(address, bytes, aligned, access, __builtin_return_address(0)); \
  }
#define DOVETAIL_ANNOUNCED(bytes)                                             \
  DOVETAIL_ANNOUNCE(read##bytes, bytes, true, simt::Access::kRead)            \
  DOVETAIL_ANNOUNCE(write##bytes, bytes, true, simt::Access::kWrite)          \
  DOVETAIL_ANNOUNCE(unaligned_read##bytes, bytes, false, simt::Access::kRead) \
  DOVETAIL_ANNOUNCE(unaligned_write##bytes, bytes, false, simt::Access::kWrite)
DOVETAIL_ANNOUNCED(1)
DOVETAIL_ANNOUNCED(2)
DOVETAIL_ANNOUNCED(4)
DOVETAIL_ANNOUNCED(8)
DOVETAIL_ANNOUNCED(16)
DOVETAIL_ANNOUNCE(read_range, bytes, false, simt::Access::kRead, size_t bytes)
DOVETAIL_ANNOUNCE(write_range, bytes, false, simt::Access::kWrite, size_t bytes)
extern "C" void __tsan_vptr_update(void**, void*) {}
extern "C" void __tsan_vptr_read(void**) {}
extern "C" void __tsan_init() {}
#endif
