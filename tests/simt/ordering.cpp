// SPDX-License-Identifier: Apache-2.0
// Happens-before with vector clocks. Each access carries its thread's clock; a thread's clock
// advances whenever it synchronises, and synchronising spreads knowledge of clocks:
//
//   sync_threads       to everybody in the block (kept as one number, Machine::floor)
//   named barriers     from all that arrive to all that wait
//   sync_warp          among the lanes of the mask; shuffles, votes, ldmatrix, mma spread nothing
//   acquire / release  through the word in global or shared memory, between blocks too; so does a
//                      relaxed atomic with a thread_fence before it on one side and after it on
//                      the other
//   kernel boundary    everything, unless the launch overlaps its predecessor: then nothing before
//                      wait_for_previous_kernel
#include <algorithm>
#include <unordered_map>

#include "simt/machine.h"

namespace dovetail::simt {
namespace {

std::unordered_map<uintptr_t, Knowledge> releases;  // by address, with foreign including our block

void merge_clocks(std::vector<uint32_t>& into, const std::vector<uint32_t>& from) {
  if (into.size() < from.size()) into.resize(from.size(), 0);
  for (size_t i = 0; i < from.size(); ++i) into[i] = std::max(into[i], from[i]);
}

}  // namespace

Stamp stamp_of(const Thread& thread) {
  if (thread.clock > kMaxClock) fail(text("more than ", kMaxClock, " synchronisations in a block"));
  return Stamp{machine.launch_number} << 48 | Stamp{machine.block_number} << 30 |
         Stamp{thread.number} << 20 | Stamp{thread.clock} << 1;
}

bool is_ordered(Stamp earlier, const Thread& thread) {
  const uint32_t launch = static_cast<uint32_t>(earlier >> 48);
  if (launch != machine.launch_number) {
    return launch < machine.unsettled_from || thread.known.previous_kernel_done;
  }
  const uint32_t clock = (earlier >> 1) & kMaxClock;
  const uint32_t number = thread_of(earlier);
  if (block_of(earlier) == machine.block_number &&
      (number == thread.number || clock <= machine.floor || thread.known.seen[number] >= clock)) {
    return true;
  }
  if (thread.known.foreign == nullptr) return false;
  const auto found = thread.known.foreign->find(block_of(earlier));
  return found != thread.known.foreign->end() && number < found->second.size() &&
         found->second[number] >= clock;
}

void Knowledge::merge(const Knowledge& other) {
  merge_clocks(seen, other.seen);
  previous_kernel_done = previous_kernel_done || other.previous_kernel_done;
  if (other.foreign == nullptr || other.foreign == foreign) return;
  if (foreign == nullptr) {
    foreign = other.foreign;
    return;
  }
  auto merged = std::make_shared<ForeignClocks>(*foreign);
  for (const auto& [block, clocks] : *other.foreign) merge_clocks((*merged)[block], clocks);
  foreign = std::move(merged);
}

void advance_clock(Thread& thread) {
  thread.clock = ++machine.clock;
}

Knowledge knowledge_of(const Thread& thread) {
  Knowledge all = thread.known;
  for (uint32_t& clock : all.seen) clock = std::max(clock, machine.floor);
  all.seen[thread.number] = thread.clock;
  return all;
}

void gather(Knowledge& into, const Thread& from) {
  into.merge(from.known);
  into.seen[from.number] = std::max(into.seen[from.number], from.clock);
}

void synchronise_block() {
  machine.floor = machine.clock;
  ++machine.clock;
  Knowledge& first = machine.threads[0]->known;
  for (const auto& thread : machine.threads) {
    if (thread->known.foreign != first.foreign ||
        thread->known.previous_kernel_done != first.previous_kernel_done) {
      first.merge(thread->known);
    }
  }
  for (const auto& thread : machine.threads) {
    thread->known.foreign = first.foreign;
    thread->known.previous_kernel_done = first.previous_kernel_done;
    thread->clock = machine.clock;
  }
}

void synchronise_warp(uint32_t first_thread, uint32_t mask) {
  Knowledge all;
  for (uint32_t lane = 0; lane < 32; ++lane) {
    if (mask >> lane & 1) gather(all, *machine.threads[first_thread + lane]);
  }
  ++machine.clock;
  for (uint32_t lane = 0; lane < 32; ++lane) {
    if ((mask >> lane & 1) == 0) continue;
    machine.threads[first_thread + lane]->known = all;
    machine.threads[first_thread + lane]->clock = machine.clock;
  }
}

void release_to(uintptr_t address, const Knowledge& knowledge) {
  const auto own =
      std::make_shared<const ForeignClocks>(ForeignClocks{{machine.block_number, knowledge.seen}});
  releases[address].merge({{}, own, knowledge.previous_kernel_done});
  releases[address].merge({{}, knowledge.foreign, false});
}

void acquire_from(uintptr_t address, Thread& thread, bool at_next_fence) {
  const auto found = releases.find(address);
  if (found == releases.end()) return;
  if (at_next_fence && thread.to_acquire == nullptr) {
    thread.to_acquire = std::make_unique<Knowledge>();
  }
  (at_next_fence ? *thread.to_acquire : thread.known).merge(found->second);
}

void forget_releases() {
  releases.clear();
}

void thread_fence() {
  Thread& self = *machine.current;
  if (self.to_acquire != nullptr) self.known.merge(*self.to_acquire);
  self.to_acquire.reset();
  self.at_fence = std::make_unique<Knowledge>(knowledge_of(self));
  advance_clock(self);
}

}  // namespace dovetail::simt
