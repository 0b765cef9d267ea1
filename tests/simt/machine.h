// SPDX-License-Identifier: Apache-2.0
// The inside of the model: the cluster that is running, its blocks and threads, what each thread
// knows of the others' progress, and the memory they share. One cluster (mostly: one block) runs at
// a time, to its end; so it must never wait for another one.
//
//   machine.cpp   launch, scheduling, messages
//   meeting.cpp   where threads wait for each other: collectives of a warp, barriers of a block
//   cluster.cpp   the barrier of a cluster, and its blocks' way to each other's shared memory
//   warp.cpp      what the collectives compute: shuffle, vote, ldmatrix, mma
//   ordering.cpp  who has seen whose writes: barriers, fences, acquire / release, kernel boundaries
//   memory.cpp    shared memory, buffers, atomics, what runs behind the program
//   access.cpp    the check of each access
#pragma once

#include <cstring>
#include <deque>
#include <map>
#include <memory>
#include <ostream>
#include <random>
#include <sstream>
#include <string>
#include <unordered_map>
#include <vector>

#include "simt/fiber.h"
#include "simt/model.h"

namespace dovetail::simt {

// ---- threads ----

// Stamp of an access: launch (16 bits) | block (18) | thread (10) | clock (19) | atomic (1). A clock
// counts its thread's synchronisations from 1.
using Stamp = uint64_t;
inline constexpr uint32_t kMaxBlocks = 1u << 18, kMaxClock = (1u << 19) - 1;
inline uint32_t block_of(Stamp stamp) {
  return (stamp >> 30) & (kMaxBlocks - 1);
}
inline uint32_t thread_of(Stamp stamp) {
  return (stamp >> 20) & 1023;
}
inline uint32_t clock_of(Stamp stamp) {
  return (stamp >> 1) & kMaxClock;
}

// What a thread knows: every access that another thread made at or before these clocks is ordered
// before this thread's next access. Threads that synchronised share one.
struct Knowledge {
  std::map<uint32_t, std::vector<uint32_t>> seen;  // block -> the clock of each of its threads
  bool previous_kernel_done = false;
};
using Known = std::shared_ptr<const Knowledge>;

// A copy or a product that was started and not waited for.
struct InFlight {
  uint32_t group;
  Site site;
  std::function<void()> finish;
  std::span<const float> accumulators;  // registers that belong to it,
  std::span<const uint32_t> operands;   // and those that it reads
};

struct Groups {
  uint32_t open = 0;  // the number of the group that collects
  std::vector<InFlight> work;
};

struct Block;

struct Thread {
  Fiber fiber;
  Block* block = nullptr;
  uint32_t number = 0;  // in the block
  Size3 index;
  bool done = false;
  const struct Operands* operands = nullptr;  // of the collective it waits in
  Stamp stamp = 0;             // of its next access; all until it synchronises share it
  uint32_t fenced = 0;         // products see its writes up to this clock
  Known known;                 // never null
  Known at_fence, to_acquire;  // for relaxed atomics: before the fence, for the next fence
  Groups pipes[2];             // by Pipe
  uint32_t cluster_arrivals = 0, cluster_waits = 0;
  Known at_cluster_arrival;
};

// What a thread calls to meet others. Members are lanes of its warp, or of all warps for
// sync_threads; a named barrier knows only how many it expects (no members).
struct Call {
  const char* operation;  // one pointer for each operation
  uint32_t id;            // of a named barrier
  uint32_t members, expected;
  bool in_warp, orders_memory;
  Site site;
};

struct Meeting {
  Call call;
  uint32_t arrived = 0, lanes = 0;  // how many; in which lanes
  std::vector<Thread*> waiting;
  std::shared_ptr<Knowledge> gathered;  // from those who arrived, and from whom last
  Known gathered_last;
};

struct Cluster;

struct Block {
  Block(Cluster& of, uint32_t rank_there, uint32_t block_number, Size3 at, uint32_t count)
      : cluster(of), rank(rank_there), number(block_number), index(at), threads(count) {}
  Cluster& cluster;
  uint32_t rank;  // in the cluster
  uint32_t number;
  Size3 index;
  std::vector<Thread> threads;
  uint32_t done = 0;                  // threads
  std::vector<Meeting> meetings[33];  // of each warp, and of the block
};

struct Mailbox {
  uint32_t expected = 0, arrived = 0;  // bytes
  bool told = false;                   // how many to expect
  Meeting senders;

  bool full() const { return told && arrived == expected; }
};

struct Cluster {
  std::deque<Block> blocks;
  uint32_t threads = 0, left = 0;  // of all blocks; gone from the kernel
  uint32_t phases = 0;             // barriers done
  Meeting barrier;                 // the open one
  Known known;                     // to all after the last one
  std::map<const void*, Mailbox> mailboxes;
};

struct Machine {
  Geometry geometry;
  const std::function<void()>* kernel = nullptr;
  uint32_t launch_number = 0, unsettled_from = 1;  // launches from there on may still be running
  Thread* current = nullptr;                       // null on the host
  Fiber host;
  std::deque<Thread*> ready;
  std::mt19937_64 random;
  std::unordered_map<const void*, Known> released;  // by the word that carries it
  std::string error;
  Counters counters{};
};
extern Machine machine;

// Others run until this thread is in machine.ready again; the last time, that is never.
void suspend(bool last = false);

// The current thread arrives. The last of those expected gets the meeting at once, does what there
// is to do for all, and releases it; the others wait (or go on, if they said so) and get null.
Meeting* meet(const Call& call, bool wait = true);
void release(Meeting& meeting);
void check_left(const Thread& gone);  // nobody may wait for it

void leave_cluster(Thread& gone);  // its barrier no longer expects this thread

// ---- ordering ----

uint32_t advance_clock(Thread& thread);  // from which it advanced
bool is_ordered(Stamp earlier, const Knowledge& known);
Known merged(const Known& a, const Known& b);  // either may be null
Known progress_of(const Thread& thread);       // what it knows, and itself
void gather(Meeting& meeting, Thread& arriving);

// ---- memory: one arena; a window of shared memory for each block that runs, then global memory ----

// In a sanitizer build the kernels are not announced (the compiler instruments for one tool only):
// there AddressSanitizer does the bounds and the cells stay unused.
#if defined(DOVETAIL_SIMT_ANNOUNCED)
inline constexpr bool kAnnounced = true;
#else
inline constexpr bool kAnnounced = false;
#endif

inline constexpr uint32_t kMostClusterBlocks = 16;
inline constexpr size_t kSharedWindow = size_t{1} << 20;
inline constexpr size_t kSharedBytes = kMostClusterBlocks * kSharedWindow;
inline constexpr size_t kArenaBytes = size_t{16} << 30;
// Special values of Cell::write, below any stamp of a launch.
inline constexpr Stamp kRedZoneCell = 0, kUninitialised = 2, kCopyInFlight = 4, kHost = 6;

// Where in the code: offset from the module's start, times two, plus one for a Site.
using Place = uint32_t;
Place place_of(const Site& site);

// Of one byte: who wrote it last, who read it since, and where.
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

// Of each block of a cluster: everything uninitialised.
void begin_shared_memory(uint32_t dynamic_bytes, uint32_t blocks);
// The neighbours' accesses to this block's shared memory came before it left.
void check_neighbours_done(const Block& left);
void check_aligned(const void* address, size_t bytes, Place place);
void check_bytes(const void* address, size_t bytes, Access access, Place place,
                 bool atomic = false);

// Whether somebody wrote this byte, and in an order that the current thread knows; outside of every
// buffer it is reported.
bool is_readable(const void* address, Place place);

// A product in flight that such a use of this register would disturb; else null.
const InFlight* product_using(const void* address, Access access);
void check_nothing_in_flight(const Thread& leaving);

// ---- messages ----

struct Target {
  size_t offset;  // in the arena
};
std::ostream& operator<<(std::ostream& out, const Site& site);
std::ostream& operator<<(std::ostream& out, const Thread& thread);
std::ostream& operator<<(std::ostream& out, const Call& call);
std::ostream& operator<<(std::ostream& out, Target target);

template <class... Parts>
std::string text(const Parts&... parts) {
  std::ostringstream out;
  (out << ... << parts);
  return std::move(out).str();
}

// Ends the launch with machine.error. Callers own nothing on their stack: their frames are dropped.
[[noreturn]] void give_up();
template <class... Parts>
[[noreturn]] void fail(const Parts&... parts) {
  machine.error = text(parts...);
  give_up();
}

}  // namespace dovetail::simt
