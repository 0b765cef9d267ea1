// SPDX-License-Identifier: Apache-2.0
#include "simt/machine.h"

#include <algorithm>
#include <numeric>

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
  leave_cluster(self);
  suspend(/*last=*/true);
}

void report_waiting(std::ostream& out, const Meeting& meeting) {
  if (meeting.waiting.empty()) return;
  out << "\n  " << *meeting.waiting.front() << " waits in " << meeting.call << ": "
      << meeting.arrived << " of " << meeting.call.expected << " threads arrived";
}

std::string deadlock_report(const Cluster& cluster) {
  std::ostringstream out;
  out << "deadlock in block " << cluster.blocks.front().number << ':';
  for (const Block& block : cluster.blocks) {
    for (const auto& group : block.meetings) {
      for (const Meeting& meeting : group) report_waiting(out, meeting);
    }
  }
  report_waiting(out, cluster.barrier);
  for (const auto& [box, mailbox] : cluster.mailboxes) report_waiting(out, mailbox.senders);
  return std::move(out).str();
}

void add_block(Cluster& cluster, uint32_t number, const Known& known) {
  const Size3 &size = machine.geometry.block, &grid = machine.geometry.grid;
  const Size3 index{number % grid.x, number / grid.x % grid.y, number / grid.x / grid.y};
  const auto rank = static_cast<uint32_t>(cluster.blocks.size());
  Block& block =
      cluster.blocks.emplace_back(cluster, rank, number, index, size.x * size.y * size.z);
  cluster.threads += static_cast<uint32_t>(block.threads.size());
  for (Thread& thread : block.threads) {
    const uint32_t i = thread.number = static_cast<uint32_t>(&thread - block.threads.data());
    thread.block = &block;
    thread.stamp = Stamp{machine.launch_number} << 48 | Stamp{number} << 30 | Stamp{i} << 20 | 2;
    thread.index = {i % size.x, i / size.x % size.y, i / size.x / size.y};
    thread.known = known;
    thread.fiber.prepare(&thread_main);
    machine.ready.push_back(&thread);
  }
}

void run_cluster(uint32_t number) {
  const uint32_t blocks = machine.geometry.cluster_blocks;
  const auto known = std::make_shared<const Knowledge>(
      Knowledge{.seen = {}, .previous_kernel_done = !machine.geometry.overlap_previous});
  Cluster cluster;
  begin_shared_memory(machine.geometry.shared_bytes, blocks);
  machine.ready.clear();
  for (uint32_t rank = 0; rank < blocks; ++rank) add_block(cluster, number * blocks + rank, known);
  suspend();
  machine.current = nullptr;
  if (machine.error.empty() && cluster.left != cluster.threads) {
    machine.error = deadlock_report(cluster);
  }
  if (!machine.error.empty()) throw Error(machine.error);
}

void check_geometry(const Geometry& g) {
  const uint64_t threads = uint64_t{g.block.x} * g.block.y * g.block.z;
  const uint64_t blocks = uint64_t{g.grid.x} * g.grid.y * g.grid.z;
  if (threads == 0 || threads > 1024 || blocks == 0 || g.grid.y > 65535 || g.grid.z > 65535 ||
      g.shared_bytes > settings().shared_limit) {
    throw Error(text("launch of ", blocks, " blocks of ", threads, " threads with ", g.shared_bytes,
                     " bytes of shared memory, of which there are ", settings().shared_limit,
                     ", is not possible"));
  }
  if (g.cluster_blocks == 0 || g.cluster_blocks > kMostClusterBlocks ||
      g.grid.x % g.cluster_blocks != 0) {
    throw Error(text("launch of ", g.grid.x, " blocks along x in clusters of ", g.cluster_blocks,
                     ": expected 1 to ", kMostClusterBlocks, ", a divisor"));
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
  std::vector<uint32_t> order(geometry.grid.x / geometry.cluster_blocks * geometry.grid.y *
                              geometry.grid.z);
  std::iota(order.begin(), order.end(), 0u);
  if (settings().order == Order::kBackward) std::ranges::reverse(order);
  if (settings().order == Order::kRandom) std::ranges::shuffle(order, machine.random);
  for (uint32_t number : order) run_cluster(number);
}

void suspend(bool last) {
  Fiber& self = machine.current != nullptr ? machine.current->fiber : machine.host;
  auto& ready = machine.ready;
  ++machine.counters.switches;
  if (ready.empty()) {
    machine.current = nullptr;
    return Fiber::switch_to(self, machine.host, last);
  }
  const size_t pick = settings().order == Order::kForward    ? 0
                      : settings().order == Order::kBackward ? ready.size() - 1
                                                             : machine.random() % ready.size();
  std::swap(ready[pick], ready.front());
  machine.current = ready.front();
  ready.pop_front();
  Fiber::switch_to(self, machine.current->fiber, last);
}

void give_up() {
  if (machine.current == nullptr) throw Error(machine.error);
  Fiber& self = machine.current->fiber;
  machine.current = nullptr;
  Fiber::switch_to(self, machine.host, /*last=*/true);
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

std::ostream& operator<<(std::ostream& out, const Site& site) {
  const char* name = std::strrchr(site.file_name(), '/');
  return out << (name != nullptr ? name + 1 : site.file_name()) << ':' << site.line();
}

std::ostream& operator<<(std::ostream& out, const Thread& thread) {
  return out << "thread " << thread.number << " (block " << thread.block->number << ", warp "
             << thread.number / 32 << ", lane " << thread.number % 32 << ')';
}

}  // namespace dovetail::simt
