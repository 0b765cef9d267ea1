// SPDX-License-Identifier: Apache-2.0
#include "simt/machine.h"

#include <algorithm>
#include <cstring>
#include <numeric>

#include "simt/arena.h"

namespace dovetail::simt {

Machine machine;

namespace {

void thread_main() {
  (*machine.kernel)();
  Thread& self = *machine.current;
  check_nothing_in_flight(self);
  self.done = true;
  ++self.block->done;
  check_left(self);
  suspend(/*last=*/true);
}

std::string deadlock_report(const Block& block) {
  std::ostringstream out;
  out << "deadlock in block " << block.number << ':';
  for (const auto& group : block.meetings) {
    for (const Meeting& meeting : group) {
      if (meeting.waiting.empty()) continue;
      out << "\n  " << *meeting.waiting.front() << " waits in " << meeting.call << ": "
          << meeting.arrived << " of " << meeting.call.expected << " threads arrived";
    }
  }
  return std::move(out).str();
}

void run_block(uint32_t number) {
  const Size3 &size = machine.geometry.block, &grid = machine.geometry.grid;
  const uint32_t count = size.x * size.y * size.z;
  const Size3 index{number % grid.x, number / grid.x % grid.y, number / grid.x / grid.y};
  Block block(number, index, count);
  const auto known = std::make_shared<const Knowledge>(
      Knowledge{.seen = {}, .previous_kernel_done = !machine.geometry.overlap_previous});
  begin_shared_memory(machine.geometry.shared_bytes);
  machine.ready.clear();
  for (uint32_t i = 0; i < count; ++i) {
    Thread& thread = block.threads[i];
    thread.block = &block;
    thread.number = i;
    thread.index = {i % size.x, i / size.x % size.y, i / size.x / size.y};
    thread.known = known;
    thread.fiber.prepare(&thread_main);
    machine.ready.push_back(&thread);
  }
  if (settings().order == Order::kBackward)
    std::reverse(machine.ready.begin(), machine.ready.end());
  machine.current = machine.ready.front();
  machine.ready.pop_front();
  Fiber::switch_to(machine.host, machine.current->fiber);
  machine.current = nullptr;
  if (machine.error.empty() && block.done != count) machine.error = deadlock_report(block);
  if (!machine.error.empty()) throw Error(machine.error);
}

void check_geometry(const Geometry& g) {
  const uint64_t threads = uint64_t{g.block.x} * g.block.y * g.block.z;
  const uint64_t blocks = uint64_t{g.grid.x} * g.grid.y * g.grid.z;
  if (threads == 0 || threads > 1024 || blocks == 0 || g.grid.y > 65535 || g.grid.z > 65535) {
    throw Error(text("launch of ", blocks, " blocks of ", threads, " threads is not possible"));
  }
  if (g.shared_bytes > settings().shared_limit) {
    throw Error(text("launch asks for ", g.shared_bytes, " bytes of shared memory, the device has ",
                     settings().shared_limit));
  }
  if (blocks >= kMaxBlocks || machine.launch_number == 65535) {
    throw Error(text("the model takes ", kMaxBlocks, " blocks and 65535 launches at most"));
  }
}

}  // namespace

Settings& settings() {
  static Settings instance;
  return instance;
}

const Counters& counters() {
  return machine.counters;
}

void launch(const Geometry& geometry, const std::function<void()>& kernel) {
  check_geometry(geometry);
  machine.geometry = geometry;
  machine.kernel = &kernel;
  machine.error.clear();
  ++machine.launch_number;
  if (!geometry.overlap_previous) machine.unsettled_from = machine.launch_number;
  machine.released.clear();
  machine.random.seed(settings().seed);
  std::vector<uint32_t> order(geometry.grid.x * geometry.grid.y * geometry.grid.z);
  std::iota(order.begin(), order.end(), 0u);
  if (settings().order == Order::kBackward) std::reverse(order.begin(), order.end());
  if (settings().order == Order::kRandom) std::shuffle(order.begin(), order.end(), machine.random);
  for (uint32_t number : order) run_block(number);
}

void suspend(bool last) {
  Thread* const self = machine.current;
  Thread* next = nullptr;  // the host, when nobody is ready
  auto& ready = machine.ready;
  if (!ready.empty()) {
    if (settings().order == Order::kRandom) {
      std::swap(ready.front(), ready[machine.random() % ready.size()]);
    }
    next = ready.front();
    ready.pop_front();
  }
  ++machine.counters.switches;
  machine.current = next;
  Fiber::switch_to(self->fiber, next != nullptr ? next->fiber : machine.host, last);
}

void fail(std::string message) {
  if (machine.current == nullptr) throw Error(message);
  std::string().swap(machine.error);  // the move below must leave nothing in this frame to free
  machine.error = std::move(message);
  Thread* const self = machine.current;
  machine.current = nullptr;
  Fiber::switch_to(self->fiber, machine.host, /*last=*/true);
  __builtin_unreachable();
}

const Size3& thread_index() {
  return machine.current->index;
}
const Size3& block_index() {
  return machine.current->block->index;
}
const Size3& block_size() {
  return machine.geometry.block;
}
const Size3& grid_size() {
  return machine.geometry.grid;
}

std::ostream& operator<<(std::ostream& out, const Where& where) {
  const char* name = std::strrchr(where.site.file_name(), '/');
  return out << (name != nullptr ? name + 1 : where.site.file_name()) << ':' << where.site.line();
}

std::ostream& operator<<(std::ostream& out, const Thread& thread) {
  return out << "thread " << thread.number << " (block " << thread.block->number << ", warp "
             << thread.number / 32 << ", lane " << thread.number % 32 << ')';
}

}  // namespace dovetail::simt
