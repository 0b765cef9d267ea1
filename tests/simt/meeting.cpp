// SPDX-License-Identifier: Apache-2.0
// Where threads wait for each other. All lanes in a mask, all threads of a block, or as many as a
// named barrier expects arrive at one meeting; the first one opens it. A thread that arrives
// elsewhere, or leaves the kernel, while a meeting counts on it has diverged.
#include <bit>

#include "simt/machine.h"

namespace dovetail::simt {
namespace {

bool same_meeting(const Call& a, const Call& b) {
  const bool same_line = a.site.line() == b.site.line() && a.site.column() == b.site.column() &&
                         a.site.file_name() == b.site.file_name();  // one pointer in a source
  return a.operation == b.operation && a.id == b.id && a.members == b.members &&
         (a.members == 0 || same_line);
}

uint32_t lane_of(const Thread& thread) {
  return 1u << thread.number % 32;
}

const char* divergent(const Call& call) {
  return call.in_warp ? "divergent warp: " : "divergent barrier: ";
}

[[noreturn]] void fail_left(const Thread& gone, const Thread& waiting, const Call& call) {
  fail(divergent(call), gone, " left the kernel, but ", waiting, " waits in ", call);
}

}  // namespace

Meeting* meet(const Call& call, bool wait) {
  Thread& self = *machine.current;
  Block& block = *self.block;
  auto& meetings = block.meetings[call.in_warp ? self.number / 32 : 32];
  Meeting *mine = nullptr, *unused = nullptr;
  for (Meeting& other : meetings) {
    if (other.arrived == 0) {
      unused = &other;
    } else if (same_meeting(other.call, call)) {
      mine = &other;
    } else if ((other.call.members & lane_of(self)) != 0 && (other.lanes & call.members) != 0) {
      fail(divergent(call), self, " is in ", call, ", ", *other.waiting.front(), " in ",
           other.call);
    }
  }
  if (block.done != 0 && call.members != 0) {
    for (const Thread& other : block.threads) {
      const bool member = !call.in_warp || other.number / 32 == self.number / 32;
      if (other.done && member && (call.members & lane_of(other)) != 0)
        fail_left(other, self, call);
    }
  }
  if (mine == nullptr) {
    mine = unused != nullptr ? unused : &meetings.emplace_back();
    mine->call = call;
  } else if (mine->call.expected != call.expected) {
    fail(divergent(call), self, " expects ", call.expected, " threads in ", call,
         ", others expect ", mine->call.expected, " in ", mine->call);
  }
  if (call.orders_memory) gather(*mine, self);
  ++mine->arrived;
  mine->lanes |= lane_of(self);
  if (wait) mine->waiting.push_back(&self);
  if (mine->arrived == call.expected) return mine;
  if (wait) suspend();
  return nullptr;
}

void release(Meeting& meeting) {
  for (Thread* thread : meeting.waiting) {
    if (meeting.gathered != nullptr) thread->known = meeting.gathered;
    if (thread != machine.current) machine.ready.push_back(thread);
  }
  meeting.arrived = meeting.lanes = 0;
  meeting.waiting.clear();
  meeting.gathered.reset();
  meeting.gathered_last.reset();
}

void check_left(const Thread& gone) {
  for (const uint32_t group : {gone.number / 32, 32u}) {
    for (const Meeting& meeting : gone.block->meetings[group]) {
      if (meeting.arrived != 0 && (meeting.call.members & lane_of(gone)) != 0)
        fail_left(gone, *meeting.waiting.front(), meeting.call);
    }
  }
}

void sync_threads(Site site) {
  const auto threads = static_cast<uint32_t>(machine.current->block->threads.size());
  const Call call{"sync_threads", 0, 0xffffffffu, threads, false, true, site};
  if (Meeting* all = meet(call)) release(*all);
}

void named_barrier(uint32_t id, uint32_t threads, bool wait, Site site) {
  const Call call{"barrier", id, 0, threads, false, true, site};
  if (id == 0 || id > 15 || threads == 0 || threads % 32 != 0) {
    fail(call, " of ", threads, " threads: expected an id of 1 .. 15 and a multiple of 32");
  }
  if (Meeting* all = meet(call, wait)) release(*all);
}

std::ostream& operator<<(std::ostream& out, const Call& call) {
  out << call.operation;
  if (call.id != 0) out << ' ' << call.id;
  out << " at " << call.site;
  if (call.in_warp) out << " of lanes " << std::hex << call.members << std::dec;
  return out;
}

}  // namespace dovetail::simt
