// SPDX-License-Identifier: Apache-2.0
// The inside of the model: the block that is running, its threads, and what each thread knows of
// the others' progress. One block runs at a time, to its end; so a block must never wait for
// another one.
//
//   machine.cpp   launch, scheduling, messages
//   meeting.cpp   where threads wait for each other: collectives of a warp, barriers of a block
//   warp.cpp      what the collectives compute: shuffle, vote, ldmatrix, mma
//   ordering.cpp  who has seen whose writes: barriers, fences, acquire / release, kernel boundaries
//   arena.h       memory: memory.cpp, access.cpp, pipe.cpp
#pragma once

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
  std::span<const std::byte> accumulators, operands;  // registers: not to be touched, not written
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
  void* argument = nullptr;     // of the collective it waits in
  uint32_t clock = 1;           // of its next access; all until it synchronises share it
  Known known;                  // never null
  Known at_fence, to_acquire;   // for relaxed atomics: before the fence, for the next fence
  Groups pipes[2];              // by Pipe
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

struct Block {
  Block(uint32_t block_number, Size3 at, uint32_t count)
      : number(block_number), index(at), threads(count) {}
  uint32_t number;
  Size3 index;
  std::vector<Thread> threads;
  uint32_t done = 0;                  // threads
  std::vector<Meeting> meetings[33];  // of each warp, and of the block
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

// ---- machine.cpp ----

// Others run until this thread is in machine.ready again; the last time, that is never.
void suspend(bool last = false);

// Ends the launch with this message. Callers own nothing on their stack: their frames are dropped.
[[noreturn]] void fail(std::string message);

// ---- meeting.cpp ----

// The current thread arrives. The last of those expected gets the meeting at once, does what there
// is to do for all, and releases it; the others wait (or go on, if they said so) and get null.
Meeting* meet(const Call& call, bool wait = true);
void release(Meeting& meeting);
void check_left(const Thread& gone);  // nobody may wait for it

// ---- ordering.cpp ----

// Stamp of an access: launch (16 bits) | block (18) | thread (10) | clock (19) | atomic (1).
using Stamp = uint64_t;
inline constexpr uint32_t kMaxBlocks = 1u << 18, kMaxClock = (1u << 19) - 1;
Stamp stamp_of(const Thread& thread);
bool is_ordered(Stamp earlier, const Thread& thread);
inline uint32_t block_of(Stamp stamp) {
  return (stamp >> 30) & (kMaxBlocks - 1);
}
inline uint32_t thread_of(Stamp stamp) {
  return (stamp >> 20) & 1023;
}

Known merged(const Known& a, const Known& b);  // either may be null
Known progress_of(const Thread& thread);       // what it knows, and itself
void gather(Meeting& meeting, Thread& arriving);

// ---- messages: streamable, so that one is built without owning anything in between ----

struct Where {
  Site site;
};
std::ostream& operator<<(std::ostream& out, const Where& where);
std::ostream& operator<<(std::ostream& out, const Thread& thread);
std::ostream& operator<<(std::ostream& out, const Call& call);

template <class... Parts>
std::string text(const Parts&... parts) {
  std::ostringstream out;
  (out << ... << parts);
  return std::move(out).str();
}

}  // namespace dovetail::simt
