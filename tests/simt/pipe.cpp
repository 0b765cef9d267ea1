// SPDX-License-Identifier: Apache-2.0
// What runs behind the program: cp.async and wgmma. Each thread keeps what it started in order and
// in groups; the wait that covers a group does its work, never earlier. So a value that is used too
// early is an old one, and memory that is overwritten too early races with the work at the wait.
// Also reported: any use of a copy's target or of a product's registers before the wait, and leaving
// the kernel without one.
#include "simt/arena.h"

namespace dovetail::simt {
namespace {

Groups& pipe_of(Thread& thread, Pipe pipe) {
  return thread.pipes[static_cast<int>(pipe)];
}

void start(Pipe pipe, Site site, std::function<void()> finish) {
  Groups& groups = pipe_of(*machine.current, pipe);
  groups.work.push_back({groups.open, site, std::move(finish), {}, {}});
}

bool holds(std::span<const std::byte> registers, const void* address) {
  return address >= registers.data() && address < registers.data() + registers.size();
}

}  // namespace

void copy_async(void* shared, const void* global, uint32_t bytes, uint32_t source_bytes,
                Site site) {
  const Place place = place_of(site);
  if (source_bytes > bytes || offset_of(shared) >= kSharedBytes) {
    fail(text("copy_async at ", Where{site}, ", ", *machine.current, ": ", source_bytes, " of ",
              bytes, " bytes to ", Target{offset_of(shared)}, ", which must be shared"));
  }
  if (source_bytes != 0) check_aligned(global, bytes, place);
  check_access(shared, bytes, Access::kWrite, site);
  set_cells(shared, bytes, kInFlight, place);
  start(Pipe::kCopy, site, [=] {
    if (source_bytes != 0) {
      check_bytes(global, source_bytes, Access::kRead, place);
      std::memcpy(shared, global, source_bytes);
    }
    std::memset(static_cast<char*>(shared) + source_bytes, 0, bytes - source_bytes);
    set_cells(shared, bytes, stamp_of(*machine.current), place);
  });
}

void multiply_async(std::span<const float> accumulators, std::span<const uint32_t> a, Site site,
                    std::function<void()> finish) {
  start(Pipe::kProduct, site, std::move(finish));
  InFlight& product = pipe_of(*machine.current, Pipe::kProduct).work.back();
  product.accumulators = std::as_bytes(accumulators);
  product.operands = std::as_bytes(a);
}

void commit(Pipe pipe) {
  ++pipe_of(*machine.current, pipe).open;
}

void wait(Pipe pipe, uint32_t pending) {
  Groups& groups = pipe_of(*machine.current, pipe);
  auto next = groups.work.begin();
  for (; next != groups.work.end() && next->group + pending < groups.open; ++next) next->finish();
  groups.work.erase(groups.work.begin(), next);
}

const InFlight* product_using(const void* address, Access access) {
  for (const InFlight& product : pipe_of(*machine.current, Pipe::kProduct).work) {
    if (holds(product.accumulators, address)) return &product;
    if (access == Access::kWrite && holds(product.operands, address)) return &product;
  }
  return nullptr;
}

void check_nothing_in_flight(const Thread& leaving) {
  for (const Groups& groups : leaving.pipes) {
    if (groups.work.empty()) continue;
    fail(text(&groups == leaving.pipes ? "copy_async" : "wgmma", " not waited for: ", leaving,
              " left the kernel while that at ", Where{groups.work.front().site},
              " is in flight"));
  }
}

}  // namespace dovetail::simt
