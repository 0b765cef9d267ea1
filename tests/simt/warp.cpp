// SPDX-License-Identifier: Apache-2.0
// Warp-wide operations. A lane leaves its operands and sleeps; the last lane of the mask to arrive
// computes for all.
#include <bit>

#include "simt/machine.h"
#include "simt/tensor_core.h"

namespace dovetail::simt {

// Registers of one lane, as many as the operation has: `out`, or the accumulator d, is written.
struct Operands {
  const uint32_t* a;
  const uint32_t* b = nullptr;
  uint32_t* out = nullptr;
  float* d = nullptr;
};

namespace {

constexpr uint32_t kAllLanes = 0xffffffffu;

Meeting* meet_lanes(const char* operation, uint32_t mask, bool orders_memory, Site site) {
  const Thread& self = *machine.current;
  const size_t after = self.block->threads.size() - self.number / 32 * 32;
  const uint32_t present = after < 32 ? (1u << after) - 1 : kAllLanes;
  const auto expected = static_cast<uint32_t>(std::popcount(mask));
  const Call call{operation, 0, mask, expected, true, orders_memory, site};
  if ((mask >> self.number % 32 & 1) == 0 || (mask & ~present) != 0) {
    fail(call, ": the mask must hold the caller, ", self, ", and only lanes that exist");
  }
  return meet(call);
}

using Lanes = const Operands* const (&)[32];  // null for lanes outside the mask

template <class Compute>
void collective(const char* operation, uint32_t mask, Site site, Operands own, Compute compute) {
  machine.current->operands = &own;
  Meeting* const all = meet_lanes(operation, mask, /*orders_memory=*/false, site);
  if (all == nullptr) return;
  const Operands* lanes[32] = {};
  for (const Thread* thread : all->waiting) lanes[thread->number % 32] = thread->operands;
  compute(lanes);
  release(*all);
}

// Fragments as documented in src/cuda/ptx/matrix.cuh: `width` elements a register.
void multiply(Format format, Lanes lanes) {
  const int width = format == Format::kE4m3 ? 4 : 2, depth = 8 * width;
  const uint32_t element = format == Format::kE4m3 ? 0xff : 0xffff;
  static Row a[16], b[8];
  for (Row& row : a) row.finite = true;
  for (Row& column : b) column.finite = true;
  for (int lane = 0; lane < 32; ++lane) {
    const int g = lane / 4, t = lane % 4;
    for (int e = 0; e < width; ++e) {
      // Of four E4m3, the two low ones go into the first sum of 16 products, the others follow.
      const int shift = e * 32 / width, k = e / 2 * 16 + 2 * t + e % 2;
      for (int r = 0; r < 4; ++r)
        a[g + r % 2 * 8].set(k + r / 2 * 8, format, lanes[lane]->a[r] >> shift & element);
      for (int r = 0; r < 2; ++r) b[g].set(k + r * 8, format, lanes[lane]->b[r] >> shift & element);
    }
  }
  for (int lane = 0; lane < 32; ++lane) {
    const int g = lane / 4, t = lane % 4;
    for (int r = 0; r < 4; ++r) {
      const Row &row = a[g + r / 2 * 8], &column = b[2 * t + r % 2];
      float& d = lanes[lane]->d[r];
      if (format == Format::kE4m3) {
        d = canonical(d + dot(row, column, depth, 0.0f));
      } else {
        d = dot(row, column, depth, d);
      }
    }
  }
  ++machine.counters.matrix_products;
}

}  // namespace

uint32_t shuffle(uint32_t value, int mode, uint32_t argument, uint32_t mask, Site site) {
  uint32_t result = 0;
  collective("shuffle", mask, site, {&value, &argument, &result}, [&](Lanes lanes) {
    for (uint32_t lane = 0; lane < 32; ++lane) {
      if (lanes[lane] == nullptr) continue;
      const uint32_t by = *lanes[lane]->b;
      const uint32_t by_mode[] = {by % 32, lane ^ by, lane + by, lane - by};
      const uint32_t source = by_mode[mode] > 31 ? lane : by_mode[mode];
      if (lanes[source] == nullptr) {
        fail("shuffle at ", site, ": lane ", lane, " reads lane ", source,
             ", which is not in the mask");
      }
      *lanes[lane]->out = *lanes[source]->a;
    }
  });
  return result;
}

uint32_t ballot(bool predicate, uint32_t mask, Site site) {
  const uint32_t vote = predicate;
  uint32_t result = 0;
  collective("vote", mask, site, {.a = &vote, .out = &result}, [](Lanes lanes) {
    uint32_t votes = 0;
    for (int lane = 0; lane < 32; ++lane) votes |= lanes[lane] ? *lanes[lane]->a << lane : 0;
    for (const Operands* lane : lanes) {
      if (lane != nullptr) *lane->out = votes;
    }
  });
  return result;
}

void sync_warp(uint32_t mask, Site site) {
  if (Meeting* all = meet_lanes("sync_warp", mask, /*orders_memory=*/true, site)) release(*all);
}

void load_matrix(uint32_t* registers, int count, bool transposed, const void* row, Site site) {
  uint32_t words[4] = {};
  if (machine.current->number % 32 < static_cast<uint32_t>(8 * count)) {  // gives a row
    check_access(row, sizeof words, Access::kRead, site);
    std::memcpy(words, row, sizeof words);
  }
  collective("load_matrix", kAllLanes, site, {.a = words, .out = registers}, [=](Lanes lanes) {
    for (int lane = 0; lane < 32; ++lane) {
      const int g = lane / 4, t = lane % 4;
      for (int j = 0; j < count; ++j) {
        const auto transposed_element = [&](int i) {
          return lanes[8 * j + 2 * t + i]->a[g / 2] >> g % 2 * 16 & 0xffff;
        };
        lanes[lane]->out[j] = transposed ? transposed_element(0) | transposed_element(1) << 16
                                         : lanes[8 * j + g]->a[t];
      }
    }
  });
}

void mma(Format format, float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], Site site) {
  collective("mma", kAllLanes, site, {.a = a, .b = b, .d = d},
             [=](Lanes lanes) { multiply(format, lanes); });
}

}  // namespace dovetail::simt
