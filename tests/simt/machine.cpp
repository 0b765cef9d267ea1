// SPDX-License-Identifier: Apache-2.0
#include "simt/machine.h"

#include <algorithm>
#include <cstring>
#include <numeric>

namespace dovetail::simt {

Machine machine;

namespace {

bool same_place(const Site& a, const Site& b) {
  return a.line() == b.line() && a.column() == b.column() &&
         std::strcmp(a.file_name(), b.file_name()) == 0;
}

// Gives the processor to the next ready thread; back to launch() when there is none.
void dispatch(Thread* from, bool last) {
  Thread* next = nullptr;
  if (!machine.ready.empty()) {
    if (settings().order == Order::kRandom) {
      std::swap(machine.ready.front(), machine.ready[machine.random() % machine.ready.size()]);
    }
    next = machine.ready.front();
    machine.ready.pop_front();
  }
  ++machine.counters.switches;
  machine.current = next;
  Fiber::switch_to(from->fiber, next != nullptr ? next->fiber : machine.host, last);
}

void thread_main() {
  (*machine.kernel)();
  Thread* self = machine.current;
  finish_async_copies(*self);
  self->state = Thread::State::kDone;
  ++machine.done;
  Warp& warp = machine.warps[self->number / 32];
  const uint32_t lane = 1u << (self->number % 32);
  warp.exited |= lane;
  for (uint32_t other = 0; other < 32; ++other) {
    if ((warp.arrived >> other & 1) != 0 && (warp.calls[other].mask & lane) != 0) {
      const WarpCall& call = warp.calls[other];
      fail(text("divergent ", call.operation, ": ", *self, " left the kernel, but ",
                *machine.threads[self->number / 32 * 32 + other], " waits for it at ",
                Where{call.site}));
    }
  }
  if (!machine.barriers[0].waiting.empty()) {
    fail(text("divergent barrier: ", *self, " left the kernel, but ",
              *machine.barriers[0].waiting.front(), " waits in sync_threads at ",
              Where{machine.barriers[0].site}));
  }
  dispatch(self, /*last=*/true);
}

std::string deadlock_report() {
  std::ostringstream out;
  out << "deadlock in block " << machine.block_number << ':';
  int lines = 0;
  const Thread* before = nullptr;
  for (const auto& thread : machine.threads) {
    if (thread->state == Thread::State::kDone) continue;
    const bool repeats = before != nullptr && same_place(before->site, thread->site);
    before = thread.get();
    if (repeats || ++lines > 8) continue;
    out << "\n  " << *thread << " waits in " << thread->operation << " at " << Where{thread->site};
    if (thread->state == Thread::State::kAtBarrier) {
      const Barrier& barrier = machine.barriers[thread->barrier];
      out << ", barrier " << thread->barrier << ": " << barrier.arrived << " of "
          << barrier.expected << " threads arrived";
    } else {
      const Warp& warp = machine.warps[thread->number / 32];
      out << ", lanes arrived " << std::hex << warp.arrived << " of mask "
          << warp.calls[thread->number % 32].mask << std::dec;
    }
  }
  return std::move(out).str();
}

void prepare_block(uint32_t number) {
  const Size3& size = machine.geometry.block;
  const Size3& grid = machine.geometry.grid;
  const uint32_t count = size.x * size.y * size.z;
  machine.block_number = number;
  machine.block = {number % grid.x, number / grid.x % grid.y, number / grid.x / grid.y};
  machine.warps.assign((count + 31) / 32, Warp{});
  for (Barrier& barrier : machine.barriers) barrier = Barrier{};
  machine.clock = 1;
  machine.floor = 0;
  machine.done = 0;
  machine.ready.clear();
  begin_shared_memory(machine.geometry.shared_bytes);
  machine.threads.resize(count);
  for (uint32_t i = 0; i < count; ++i) {
    if (machine.threads[i] == nullptr) machine.threads[i] = std::make_unique<Thread>();
    Thread& thread = *machine.threads[i];
    thread.number = i;
    thread.index = {i % size.x, i / size.x % size.y, i / size.x / size.y};
    thread.state = Thread::State::kReady;
    thread.clock = 1;
    thread.known.seen.assign(count, 0);
    thread.known.foreign.reset();
    thread.known.previous_kernel_done = !machine.geometry.overlap_previous;
    thread.at_fence.reset();
    thread.to_acquire.reset();
    thread.open_group.clear();
    thread.groups.clear();
    thread.fiber.prepare(&thread_main);
    machine.warps[i / 32].present |= 1u << (i % 32);
    machine.ready.push_back(&thread);
  }
  machine.counters.threads += count;
  if (settings().order == Order::kBackward)
    std::reverse(machine.ready.begin(), machine.ready.end());
}

void run_block() {
  machine.current = machine.ready.front();
  machine.ready.pop_front();
  Fiber::switch_to(machine.host, machine.current->fiber);
  machine.current = nullptr;
  if (machine.error.empty() && machine.done != machine.threads.size()) {
    machine.error = deadlock_report();
  }
}

void check_geometry(const Geometry& g) {
  const uint64_t threads = uint64_t{g.block.x} * g.block.y * g.block.z;
  const uint64_t blocks = uint64_t{g.grid.x} * g.grid.y * g.grid.z;
  if (threads == 0 || threads > 1024 || blocks == 0 || g.grid.y > 65535 || g.grid.z > 65535) {
    throw Error(text("launch of ", blocks, " blocks of ", threads, " threads is not possible"));
  }
  if (blocks >= kMaxBlocks) throw Error(text("the model takes ", kMaxBlocks, " blocks at most"));
  if (g.shared_bytes > settings().shared_limit) {
    throw Error(text("launch asks for ", g.shared_bytes, " bytes of shared memory, the device has ",
                     settings().shared_limit));
  }
  if (machine.launch_number == 65535) throw Error("the model takes 65535 launches at most");
}

}  // namespace

Settings& settings() {
  static Settings instance;
  return instance;
}

Counters counters() {
  return machine.counters;
}

void launch(const Geometry& geometry, const std::function<void()>& kernel) {
  check_geometry(geometry);
  machine.geometry = geometry;
  machine.kernel = &kernel;
  machine.error.clear();
  ++machine.launch_number;
  if (!geometry.overlap_previous) machine.unsettled_from = machine.launch_number;
  forget_releases();
  machine.random.seed(settings().seed);
  std::vector<uint32_t> order(geometry.grid.x * geometry.grid.y * geometry.grid.z);
  std::iota(order.begin(), order.end(), 0u);
  if (settings().order == Order::kBackward) std::reverse(order.begin(), order.end());
  if (settings().order == Order::kRandom) std::shuffle(order.begin(), order.end(), machine.random);
  for (uint32_t number : order) {
    prepare_block(number);
    run_block();
    if (!machine.error.empty()) throw Error(machine.error);
  }
}

void fail(std::string message) {
  if (machine.current == nullptr) throw Error(message);
  std::string().swap(machine.error);  // the move below must leave nothing in this frame to free
  machine.error = std::move(message);
  Thread* self = machine.current;
  machine.current = nullptr;
  Fiber::switch_to(self->fiber, machine.host, /*last=*/true);
  __builtin_unreachable();
}

void Machine::make_ready(Thread* thread) {
  thread->state = Thread::State::kReady;
  ready.push_back(thread);
}

void Machine::suspend(Thread::State state, const char* operation, Site site) {
  current->state = state;
  current->operation = operation;
  current->site = site;
  dispatch(current, /*last=*/false);
}

// ---- block barriers: number 0 is sync_threads ----

namespace {

void meet(uint32_t id, uint32_t threads, bool wait, const char* name, Site site) {
  Thread& self = *machine.current;
  Barrier& barrier = machine.barriers[id];
  barrier.site = site;
  barrier.expected = threads;
  if (id != 0) {
    gather(barrier.gathered, self);
    advance_clock(self);
  }
  if (wait) barrier.waiting.push_back(&self);
  if (++barrier.arrived < threads) {
    self.barrier = id;
    if (wait) machine.suspend(Thread::State::kAtBarrier, name, site);
    return;
  }
  if (id == 0) synchronise_block();
  if (settings().order == Order::kBackward) {
    std::reverse(barrier.waiting.begin(), barrier.waiting.end());
  }
  for (Thread* thread : barrier.waiting) {
    if (id != 0) thread->known.merge(barrier.gathered);
    if (thread != &self) machine.make_ready(thread);
  }
  barrier.waiting.clear();
  barrier.arrived = 0;
  barrier.gathered = {};
}

}  // namespace

void sync_threads(Site site) {
  Thread& self = *machine.current;
  const Barrier& barrier = machine.barriers[0];
  ++machine.counters.collectives;
  for (const auto& thread : machine.threads) {
    if (machine.done == 0) break;
    if (thread->state == Thread::State::kDone) {
      fail(text("divergent barrier: ", *thread, " left the kernel, but ", self,
                " waits in sync_threads at ", Where{site}));
    }
  }
  if (barrier.arrived != 0 && !same_place(barrier.site, site)) {
    fail(text("divergent barrier: ", *barrier.waiting.front(), " waits in sync_threads at ",
              Where{barrier.site}, ", ", self, " at ", Where{site}));
  }
  meet(0, static_cast<uint32_t>(machine.threads.size()), true, "sync_threads", site);
}

void named_barrier(uint32_t id, uint32_t threads, bool wait, Site site) {
  const char* name = wait ? "barrier_sync" : "barrier_arrive";
  ++machine.counters.collectives;
  if (id == 0 || id > 15 || threads == 0 || threads % 32 != 0) {
    fail(text(name, "(", id, ", ", threads, ") at ", Where{site},
              ": expected an id of 1 .. 15 and a multiple of 32 threads"));
  }
  const Barrier& barrier = machine.barriers[id];
  if (barrier.arrived != 0 && barrier.expected != threads) {
    fail(text("divergent barrier: ", *machine.current, " expects ", threads, " threads at barrier ",
              id, ", ", Where{site}, "; others expect ", barrier.expected, " at ",
              Where{barrier.site}));
  }
  meet(id, threads, wait, name, site);
}

// ---- surroundings and messages ----

const Size3& thread_index() {
  return machine.current->index;
}
const Size3& block_index() {
  return machine.block;
}
const Size3& block_size() {
  return machine.geometry.block;
}
const Size3& grid_size() {
  return machine.geometry.grid;
}

void wait_for_previous_kernel() {
  machine.current->known.previous_kernel_done = true;
}

std::ostream& operator<<(std::ostream& out, const Where& where) {
  const char* name = std::strrchr(where.site.file_name(), '/');
  return out << (name != nullptr ? name + 1 : where.site.file_name()) << ':' << where.site.line();
}

std::ostream& operator<<(std::ostream& out, const Thread& thread) {
  return out << "thread " << thread.number << " (block " << machine.block_number << ", warp "
             << thread.number / 32 << ", lane " << thread.number % 32 << ')';
}

}  // namespace dovetail::simt
