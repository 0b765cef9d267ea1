// SPDX-License-Identifier: Apache-2.0
// Device memory lives in one arena: the running block's shared memory first, then global memory.
// Each byte has a Cell that says who wrote it last, who read it since, and from which line.
//   memory.cpp   who owns which bytes: shared memory, buffers; atomics
//   access.cpp   the check of one access against the cells, and where accesses are announced
//   pipe.cpp     copies and products that run behind the program
#pragma once

#include <cstring>

#include "simt/machine.h"

namespace dovetail::simt {

// In a sanitizer build the kernels are not announced (the compiler instruments for one tool only):
// there AddressSanitizer does the bounds and the cells stay unused.
#if defined(DOVETAIL_SIMT_ANNOUNCED)
inline constexpr bool kAnnounced = true;
#else
inline constexpr bool kAnnounced = false;
#endif

inline constexpr size_t kSharedBytes = size_t{1} << 20, kArenaBytes = size_t{16} << 30;
inline constexpr size_t kRedZone = 256;
// Special values of Cell::write, below any stamp of a launch.
inline constexpr Stamp kRedZoneCell = 0, kUninitialised = 2, kInFlight = 4, kHost = 6;

// Where in the code: offset from the module's start, times two, plus one for a Site.
using Place = uint32_t;
Place place_of(const Site& site);

struct Cell {
  Stamp write;
  Stamp read[2];
  Place write_place, read_place;
};

extern char* const arena;
extern Cell* const cells;  // null when not announced

inline size_t offset_of(const void* address) {
  return static_cast<size_t>(static_cast<const char*>(address) - arena);
}

// Streams "shared memory tile + 64" and the like.
struct Target {
  size_t offset;
};
std::ostream& operator<<(std::ostream& out, Target target);

void begin_shared_memory(uint32_t dynamic_bytes);  // of a block: everything uninitialised
void set_cells(const void* address, size_t bytes, Stamp write, Place place = 0);
void check_aligned(const void* address, size_t bytes, Place place);
void check_bytes(const void* address, size_t bytes, Access access, Place place,
                 bool atomic = false);

// A product in flight that such a use of this register would disturb; else null.
const InFlight* product_using(const void* address, Access access);
void check_nothing_in_flight(const Thread& leaving);

}  // namespace dovetail::simt
