// SPDX-License-Identifier: Apache-2.0
// Happens-before with vector clocks. Each access carries its thread's clock; a thread's clock
// advances whenever it synchronises, and synchronising spreads knowledge of clocks:
//
//   barriers           from all that arrive to all that wait: sync_threads, named barriers, a
//                      cluster's barrier, and sync_warp; shuffles, votes, ldmatrix, mma spread nothing
//   acquire / release  through the word in global or shared memory, between blocks too; so does a
//                      relaxed atomic with a thread_fence before it on one side and after it on
//                      the other
//   kernel boundary    everything, unless the launch overlaps its predecessor: then nothing before
//                      wait_for_previous_kernel
#include <algorithm>

#include "simt/machine.h"

namespace dovetail::simt {
namespace {

void merge(Knowledge& into, const Knowledge& other) {
  into.previous_kernel_done = into.previous_kernel_done || other.previous_kernel_done;
  for (const auto& [block, clocks] : other.seen) {
    auto& mine = into.seen[block];
    mine.resize(std::max(mine.size(), clocks.size()));
    for (size_t i = 0; i < clocks.size(); ++i) mine[i] = std::max(mine[i], clocks[i]);
  }
}

void add_progress(Knowledge& into, const Thread& thread) {
  auto& clocks = into.seen[thread.block->number];
  clocks.resize(thread.block->threads.size());
  clocks[thread.number] = clock_of(thread.stamp);
}

}  // namespace

uint32_t advance_clock(Thread& thread) {
  const uint32_t before = clock_of(thread.stamp);
  if (before == kMaxClock) fail(thread, " synchronises more than ", kMaxClock, " times");
  thread.stamp += 2;
  return before;
}

bool is_ordered(Stamp earlier, const Knowledge& known) {
  const auto launch = static_cast<uint32_t>(earlier >> 48);
  if (launch != machine.launch_number) {
    return launch < machine.unsettled_from || known.previous_kernel_done;
  }
  const auto found = known.seen.find(block_of(earlier));
  return found != known.seen.end() && found->second[thread_of(earlier)] >= clock_of(earlier);
}

Known merged(const Known& a, const Known& b) {
  if (a == nullptr || a == b) return b;
  if (b == nullptr) return a;
  const auto both = std::make_shared<Knowledge>(*a);
  merge(*both, *b);
  return both;
}

Known progress_of(const Thread& thread) {
  const auto progress = std::make_shared<Knowledge>(*thread.known);
  add_progress(*progress, thread);
  return progress;
}

void gather(Meeting& meeting, Thread& arriving) {
  if (meeting.gathered == nullptr) {
    meeting.gathered = std::make_shared<Knowledge>(*arriving.known);
  } else if (arriving.known != meeting.gathered_last) {
    merge(*meeting.gathered, *arriving.known);
  }
  meeting.gathered_last = arriving.known;
  add_progress(*meeting.gathered, arriving);
  advance_clock(arriving);
}

void thread_fence() {
  Thread& self = *machine.current;
  self.known = merged(self.known, self.to_acquire);
  self.to_acquire.reset();
  self.at_fence = progress_of(self);
  advance_clock(self);
}

void fence_for_products() {
  machine.current->fenced = advance_clock(*machine.current);
}

void wait_for_previous_kernel() {
  static const Known everything_before =
      std::make_shared<const Knowledge>(Knowledge{.seen = {}, .previous_kernel_done = true});
  machine.current->known = merged(machine.current->known, everything_before);
}

}  // namespace dovetail::simt
