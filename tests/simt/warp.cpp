// SPDX-License-Identifier: Apache-2.0
// Warp-wide operations. A lane leaves its operands' address and sleeps; the last lane of the mask
// to arrive computes for all.
#include <cstring>

#include "simt/arena.h"
#include "simt/tensor_core.h"

namespace dovetail::simt {
namespace {

constexpr uint32_t kAllLanes = 0xffffffffu;

Meeting* meet_lanes(const char* operation, uint32_t mask, bool orders_memory, Site site) {
  const Thread& self = *machine.current;
  const size_t after = self.block->threads.size() - self.number / 32 * 32;
  const uint32_t present = after < 32 ? (1u << after) - 1 : kAllLanes;
  const auto expected = static_cast<uint32_t>(std::popcount(mask));
  const Call call{operation, 0, mask, expected, true, orders_memory, site};
  if ((mask >> self.number % 32 & 1) == 0 || (mask & ~present) != 0) {
    fail(text(call, ": the mask must hold the caller, ", self, ", and only lanes that exist"));
  }
  return meet(call);
}

template <class Operands>
using Lanes = Operands* const (&)[32];  // null for lanes outside the mask

template <class Operands, class Compute>
void collective(const char* operation, uint32_t mask, Site site, Operands own, Compute compute) {
  machine.current->argument = &own;
  Meeting* const all = meet_lanes(operation, mask, /*orders_memory=*/false, site);
  if (all == nullptr) return;
  Operands* lanes[32] = {};
  for (Thread* thread : all->waiting) {
    lanes[thread->number % 32] = static_cast<Operands*>(thread->argument);
  }
  compute(lanes);
  release(*all);
}

struct Shuffle {
  uint32_t value, argument;
  uint32_t* result;
};

struct Vote {
  bool predicate;
  uint32_t* result;
};

struct MatrixLoad {
  uint16_t row[8];
  uint32_t* registers;
};

struct MatrixProduct {
  float* d;
  const uint32_t* a;
  const uint32_t* b;
};

// Fragments as documented in src/cuda/ptx/matrix.cuh: `width` elements a register.
template <Format F>
void multiply(Lanes<MatrixProduct> lanes) {
  constexpr int kWidth = F == Format::kE4m3 ? 4 : 2;
  constexpr int kDepth = 8 * kWidth;
  constexpr uint32_t kElement = F == Format::kE4m3 ? 0xff : 0xffff;
  static Row a[16], b[8];
  for (Row& row : a) row.finite = true;
  for (Row& column : b) column.finite = true;
  for (int lane = 0; lane < 32; ++lane) {
    const int g = lane / 4, t = lane % 4;
    for (int e = 0; e < kWidth; ++e) {
      // Of four E4m3, the two low ones go into the first sum of 16 products, the others follow.
      const int shift = e * 32 / kWidth, k = e / 2 * 16 + 2 * t + e % 2;
      for (int r = 0; r < 4; ++r)
        a[g + r % 2 * 8].set(k + r / 2 * 8, F, lanes[lane]->a[r] >> shift & kElement);
      for (int r = 0; r < 2; ++r) b[g].set(k + r * 8, F, lanes[lane]->b[r] >> shift & kElement);
    }
  }
  const TensorCore core = tensor_core(settings().tensor_core);
  for (int lane = 0; lane < 32; ++lane) {
    float* d = lanes[lane]->d;
    const int g = lane / 4, t = lane % 4;
    for (int r = 0; r < 4; ++r) {
      const Row &row = a[g + r / 2 * 8], &column = b[2 * t + r % 2];
      if constexpr (F == Format::kE4m3) {
        d[r] = canonical(d[r] + dot(core, row, column, kDepth, 0.0f));
      } else {
        d[r] = dot(core, row, column, kDepth, d[r]);
      }
    }
  }
  ++machine.counters.matrix_products;
}

}  // namespace

uint32_t shuffle(uint32_t value, int mode, uint32_t argument, uint32_t mask, Site site) {
  uint32_t result = 0;
  collective("shuffle", mask, site, Shuffle{value, argument, &result}, [&](Lanes<Shuffle> lanes) {
    for (uint32_t lane = 0; lane < 32; ++lane) {
      if (lanes[lane] == nullptr) continue;
      const uint32_t by = lanes[lane]->argument;
      const uint32_t by_mode[] = {by % 32, lane ^ by, lane + by, lane - by};
      const uint32_t source = by_mode[mode] > 31 ? lane : by_mode[mode];
      if (lanes[source] == nullptr) {
        fail(text("shuffle at ", Where{site}, ": lane ", lane, " reads lane ", source,
                  ", which is not in the mask ", std::hex, mask));
      }
      *lanes[lane]->result = lanes[source]->value;
    }
  });
  return result;
}

uint32_t ballot(bool predicate, uint32_t mask, Site site) {
  uint32_t result = 0;
  collective("vote", mask, site, Vote{predicate, &result}, [](Lanes<Vote> lanes) {
    uint32_t votes = 0;
    for (uint32_t lane = 0; lane < 32; ++lane) {
      if (lanes[lane] != nullptr) votes |= uint32_t{lanes[lane]->predicate} << lane;
    }
    for (const Vote* vote : lanes) {
      if (vote != nullptr) *vote->result = votes;
    }
  });
  return result;
}

void sync_warp(uint32_t mask, Site site) {
  Meeting* const all = meet_lanes("sync_warp", mask, /*orders_memory=*/true, site);
  if (all != nullptr) release(*all);
}

void load_matrix(uint32_t* registers, int count, bool transposed, const void* row, Site site) {
  MatrixLoad own{{}, registers};
  if (machine.current->number % 32 < static_cast<uint32_t>(8 * count)) {  // gives a row
    check_access(row, sizeof own.row, Access::kRead, site);
    std::memcpy(own.row, row, sizeof own.row);
  }
  collective("load_matrix", kAllLanes, site, own, [=](Lanes<MatrixLoad> lanes) {
    for (int lane = 0; lane < 32; ++lane) {
      const int g = lane / 4, t = lane % 4;
      for (int j = 0; j < count; ++j) {
        const auto element = [&](int i) {
          return transposed ? lanes[8 * j + 2 * t + i]->row[g] : lanes[8 * j + g]->row[2 * t + i];
        };
        lanes[lane]->registers[j] = element(0) | static_cast<uint32_t>(element(1)) << 16;
      }
    }
  });
}

void mma(Format format, float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], Site site) {
  collective("mma", kAllLanes, site, MatrixProduct{d, a, b}, [=](Lanes<MatrixProduct> lanes) {
    if (format == Format::kHalf) multiply<Format::kHalf>(lanes);
    if (format == Format::kBFloat16) multiply<Format::kBFloat16>(lanes);
    if (format == Format::kE4m3) multiply<Format::kE4m3>(lanes);
  });
}

}  // namespace dovetail::simt
