// SPDX-License-Identifier: Apache-2.0
// The model's speed, as README.md states it: build the target simt_speed and run it. Processor time,
// so that a busy machine matters little.
#include <algorithm>
#include <cstdio>
#include <ctime>

#include "simt/memory.h"
#include "simt/planted.h"

namespace {

using dovetail::simt::Counters;

// Millions a second of what `count` counts, in eight blocks of 128 threads.
void measure(const char* what, dovetail::simt_test::WorkParameters work,
             uint64_t (*count)(const Counters&)) {
  dovetail::simt::Buffer<float> out(8 * 128);
  work.out = out.data();
  double best = 0;
  for (int round = 0; round < 5; ++round) {
    const uint64_t before = count(dovetail::simt::counters());
    const std::clock_t start = std::clock();
    if (!dovetail::simt_test::work(work, 8).ok()) return;
    const double taken = static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC;
    const uint64_t done = count(dovetail::simt::counters()) - before;
    best = std::max(best, static_cast<double>(done) / taken / 1e6);
  }
  std::printf("%-16s %8.2f million a second\n", what, best);
}

}  // namespace

int main() {
  measure("thread-steps", {.shuffles = 2000}, [](const Counters& c) { return c.switches; });
  measure("accesses", {.increments = 20000}, [](const Counters& c) { return c.checked_accesses; });
  measure("mma.m16n8k16", {.mma = 500}, [](const Counters& c) { return c.matrix_products; });
}
