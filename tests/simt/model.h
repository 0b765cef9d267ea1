// SPDX-License-Identifier: Apache-2.0
// The SIMT model as the PTX boundary (src/cuda/ptx) sees it: what every wrapper's host twin calls.
// A kernel launched here runs one fiber per CUDA thread; README.md: what is modelled and checked.
//
// A broken rule (race, divergence, deadlock, bad address, ...) ends the launch: launch() throws
// Error with the kernel's file and line of every thread involved. Nothing is ever only logged.
#pragma once

#include <cstdint>
#include <functional>
#include <source_location>
#include <span>
#include <stdexcept>

namespace dovetail::simt {

using Site = std::source_location;

struct Size3 {
  uint32_t x = 1, y = 1, z = 1;
};

struct Error : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// ---- launching ----

enum class Order { kForward, kBackward, kRandom };

// How the next launches run; a test sets it and the kernel cannot see it.
struct Settings {
  Order order = Order::kForward;  // of blocks, and of threads inside a block
  uint64_t seed = 1;              // for kRandom
  uint32_t shared_limit = 227 * 1024;
};
Settings& settings();

struct Geometry {
  Size3 grid, block;
  uint32_t shared_bytes = 0;      // dynamic shared memory
  uint32_t cluster_blocks = 1;    // neighbours along x that run together
  bool overlap_previous = false;  // programmatic dependent launch
};

// What ran since the program started: for speed figures and for tests that prove work was done.
struct Counters {
  uint64_t switches, matrix_products, checked_accesses;
};
const Counters& counters();

void launch(const Geometry& geometry, const std::function<void()>& kernel);

// ---- one thread's surroundings ----

const Size3& thread_index();
const Size3& block_index();
const Size3& block_size();
const Size3& grid_size();
void* dynamic_shared();
void* static_shared(const char* name, int line, size_t bytes);

// ---- collectives ----

uint32_t shuffle(uint32_t value, int mode, uint32_t argument, uint32_t mask, Site site);
uint32_t ballot(bool predicate, uint32_t mask, Site site);
void sync_warp(uint32_t mask, Site site);
void sync_threads(Site site);
void named_barrier(uint32_t id, uint32_t threads, bool wait, Site site);
void wait_for_previous_kernel();

// ---- clusters: barrier.cluster of all threads that have not left, and distributed shared memory ----

uint32_t cluster_rank();
void cluster_arrive(Site site);
void cluster_wait(Site site);
// Where block `rank` of the cluster keeps what this block keeps at `own`.
void* cluster_address(const void* own, uint32_t rank, Site site);
// Mailboxes: the word of this block, and for post that of a neighbour.
void open_mailbox(const void* box, Site site);
void expect_mail(const void* box, uint32_t bytes, Site site);
void post(const void* box, uint32_t bytes, Site site);
void wait_for_mail(const void* box, Site site);

enum class Format { kHalf, kBFloat16, kE4m3 };
void mma(Format format, float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], Site site);
void load_matrix(uint32_t* registers, int count, bool transposed, const void* row, Site site);

// ---- memory ----

enum class Access { kRead, kWrite, kProductRead };  // the last: of shared memory, by a wgmma
void check_access(const void* address, size_t bytes, Access access, Site site);

// The body of a twin is not announced (README.md): it checks for itself.
#define DOVETAIL_SIMT_TWIN __attribute__((no_sanitize("thread")))

template <class T>
DOVETAIL_SIMT_TWIN T load(const void* address, Site site, Access access = Access::kRead) {
  check_access(address, sizeof(T), access, site);
  return *static_cast<const T*>(address);
}
template <class T>
DOVETAIL_SIMT_TWIN void store(void* address, const T& value, Site site) {
  check_access(address, sizeof(T), Access::kWrite, site);
  *static_cast<T*>(address) = value;
}

enum class AtomicOp { kLoadAcquire, kStoreRelease, kAddAcquireRelease, kAdd, kAddFloat };
uint32_t atomic(uint32_t* address, AtomicOp op, uint32_t operand, Site site);
// *address keeps its value where the bits of `mask` are those of `value`, and becomes `value`
// elsewhere, garbage that nobody wrote included. Atomic, ordering nothing.
void claim(uint64_t* address, uint64_t value, uint64_t mask, Site site);
void thread_fence();

// ---- what runs behind the program, in groups, and is done at the wait that covers its group ----

enum class Pipe { kCopy, kProduct };  // cp.async, wgmma

// `ahead`: source bytes that this thread may not read yet arrive as 0xff instead of being reported.
void copy_async(void* shared, const void* global, uint32_t bytes, uint32_t source_bytes, Site site,
                bool ahead = false);
// `finish` computes the product. Until then its accumulators belong to it, and its A if that is in
// registers.
void multiply_async(std::span<const float> accumulators, std::span<const uint32_t> a, Site site,
                    std::function<void()> finish);
void fence_for_products();  // what this thread wrote before is there for their reads
void commit(Pipe pipe);
void wait(Pipe pipe, uint32_t pending);

}  // namespace dovetail::simt
