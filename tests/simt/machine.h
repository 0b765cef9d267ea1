// SPDX-License-Identifier: Apache-2.0
// The inside of the model: the block that is running, its threads, and what each thread knows of
// the others' progress. One block runs at a time, to its end; so a block must never wait for
// another one.
//
//   machine.cpp   launch, scheduling, block barriers, deadlock report
//   warp.cpp      warp rendezvous: shuffle, ballot, sync_warp, ldmatrix, mma
//   ordering.cpp  who has seen whose writes: barriers, fences, acquire / release, kernel boundaries
//   memory.cpp    shared memory, buffers, cp.async, atomics; access.cpp: the check of each access
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <ostream>
#include <random>
#include <sstream>
#include <string>
#include <vector>

#include "simt/fiber.h"
#include "simt/model.h"

namespace dovetail::simt {

// Block number -> for each of its threads, the newest clock value that has been seen.
using ForeignClocks = std::map<uint32_t, std::vector<uint32_t>>;

// What a thread knows: every access that another thread made at or before these clocks is ordered
// before this thread's next access.
struct Knowledge {
  std::vector<uint32_t> seen;  // by thread of the same block
  std::shared_ptr<const ForeignClocks> foreign;
  bool previous_kernel_done = false;
  void merge(const Knowledge& other);
};

struct AsyncCopy {
  char* shared;
  const char* global;
  uint32_t bytes, source_bytes;
  Site site;
};

struct Thread {
  enum class State { kReady, kInWarpCall, kAtBarrier, kDone };

  Fiber fiber;
  Size3 index;
  uint32_t number = 0;  // in the block
  State state = State::kReady;
  Site site;                   // where it waits
  const char* operation = "";  // and in what
  uint32_t barrier = 0;

  uint32_t clock = 1;  // of its next access; all of them until the next synchronisation share it
  Knowledge known;
  std::unique_ptr<Knowledge> at_fence, to_acquire;

  std::vector<AsyncCopy> open_group;
  std::deque<std::vector<AsyncCopy>> groups;
};

struct WarpCall {
  uint32_t mask;
  const char* operation;
  Site site;
  void* argument;
};

struct Warp {
  uint32_t present = 0, exited = 0, arrived = 0;  // lanes
  WarpCall calls[32];
};

struct Barrier {
  uint32_t expected = 0, arrived = 0;
  std::vector<Thread*> waiting;
  Knowledge gathered;
  Site site;
};

struct Machine {
  Geometry geometry;
  const std::function<void()>* kernel = nullptr;
  Size3 block;
  uint32_t block_number = 0;
  uint32_t launch_number = 0, unsettled_from = 1;  // launches from there on may still be running
  std::vector<std::unique_ptr<Thread>> threads;
  std::vector<Warp> warps;
  Barrier barriers[16];
  uint32_t clock = 1;  // newest value handed out in this block
  uint32_t floor = 0;  // clocks up to here are seen by all threads of the block (sync_threads)
  uint32_t done = 0;

  Thread* current = nullptr;  // null on the host
  Fiber host;
  std::deque<Thread*> ready;
  std::mt19937_64 random;
  std::string error;
  Counters counters{};

  void make_ready(Thread* thread);
  void suspend(Thread::State state, const char* operation, Site site);
};
extern Machine machine;

// Ends the launch with this message. Callers own nothing on their stack: their frames are dropped.
[[noreturn]] void fail(std::string message);

// ---- ordering ----

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

void advance_clock(Thread& thread);
void gather(Knowledge& into, const Thread& from);
void synchronise_block();
void synchronise_warp(uint32_t first_thread, uint32_t mask);
void release_to(uintptr_t address, const Knowledge& knowledge);
void acquire_from(uintptr_t address, Thread& thread, bool at_next_fence);
void forget_releases();  // at a kernel boundary
Knowledge knowledge_of(const Thread& thread);

// ---- memory ----

void begin_shared_memory(uint32_t dynamic_bytes);  // of a block: everything uninitialised
void finish_async_copies(Thread& thread);          // at thread exit

// ---- messages: streamable, so that one is built without owning anything in between ----

struct Where {
  Site site;
};
std::ostream& operator<<(std::ostream& out, const Where& where);
std::ostream& operator<<(std::ostream& out, const Thread& thread);

template <class... Parts>
std::string text(const Parts&... parts) {
  std::ostringstream out;
  (out << ... << parts);
  return std::move(out).str();
}

}  // namespace dovetail::simt
