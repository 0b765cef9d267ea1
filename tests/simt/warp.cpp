// SPDX-License-Identifier: Apache-2.0
// Warp-wide operations. A lane that arrives leaves its operands' address and sleeps; the last lane
// of the mask checks that all are at the same operation, line and mask, computes for all, and wakes
// them.
#include <bit>
#include <cstring>

#include "simt/machine.h"
#include "simt/tensor_core.h"

namespace dovetail::simt {
namespace {

using Execute = void (*)(void* const* arguments, uint32_t mask);

bool same_call(const WarpCall& a, const WarpCall& b) {
  return a.operation == b.operation && a.mask == b.mask &&
         (std::bit_cast<const void*>(a.site) == std::bit_cast<const void*>(b.site) ||
          (a.site.line() == b.site.line() && a.site.column() == b.site.column() &&
           std::strcmp(a.site.file_name(), b.site.file_name()) == 0));
}

// `operation` must be the same pointer for the same operation.
void warp_call(const char* operation, uint32_t mask, Site site, void* argument, Execute execute) {
  Thread& self = *machine.current;
  const uint32_t first = self.number / 32 * 32, lane = self.number % 32;
  Warp& warp = machine.warps[self.number / 32];
  ++machine.counters.collectives;
  if ((mask >> lane & 1) == 0 || (mask & ~warp.present) != 0) {
    fail(text(operation, " at ", Where{site}, ": mask ", std::hex, mask, std::dec,
              " must hold the caller, ", self, ", and only lanes that exist"));
  }
  if ((mask & warp.exited) != 0) {
    fail(text("divergent ", operation, ": ", self, " waits at ", Where{site}, ", but ",
              *machine.threads[first + std::countr_zero(mask & warp.exited)], " left the kernel"));
  }
  WarpCall& call = warp.calls[lane];
  call = {mask, operation, site, argument};
  // Lanes of my mask that wait elsewhere are late when their call does not involve me, divergent
  // when it does.
  uint32_t here = 1u << lane;
  for (uint32_t rest = warp.arrived & mask; rest != 0; rest &= rest - 1) {
    const uint32_t other = std::countr_zero(rest);
    if (same_call(call, warp.calls[other])) {
      here |= 1u << other;
    } else if (warp.calls[other].mask >> lane & 1) {
      fail(text("divergent warp: ", self, " is at ", operation, ", ", Where{site}, ", mask ",
                std::hex, mask, std::dec, "; ", *machine.threads[first + other], " is at ",
                warp.calls[other].operation, ", ", Where{warp.calls[other].site}, ", mask ",
                std::hex, warp.calls[other].mask, std::dec));
    }
  }
  warp.arrived |= 1u << lane;
  if (here != mask) {
    machine.suspend(Thread::State::kInWarpCall, operation, site);
    return;
  }
  void* arguments[32] = {};
  for (uint32_t i = 0; i < 32; ++i) {
    if (mask >> i & 1) arguments[i] = warp.calls[i].argument;
  }
  execute(arguments, mask);
  warp.arrived &= ~mask;
  for (uint32_t i = 0; i < 32; ++i) {
    const uint32_t woken = settings().order == Order::kBackward ? 31 - i : i;
    if ((mask >> woken & 1) && woken != lane) {
      machine.make_ready(machine.threads[first + woken].get());
    }
  }
}

template <class Argument, class Function>
void for_each_lane(void* const* arguments, uint32_t mask, Function function) {
  for (uint32_t lane = 0; lane < 32; ++lane) {
    if (mask >> lane & 1) function(lane, *static_cast<Argument*>(arguments[lane]));
  }
}

struct ShuffleArgument {
  uint32_t value, argument;
  int mode;
  uint32_t result;
};

void execute_shuffle(void* const* arguments, uint32_t mask) {
  for_each_lane<ShuffleArgument>(arguments, mask, [&](uint32_t lane, ShuffleArgument& own) {
    const uint32_t by_mode[] = {own.argument % 32, lane ^ own.argument, lane + own.argument,
                                lane - own.argument};
    const uint32_t source = by_mode[own.mode] > 31 ? lane : by_mode[own.mode];
    if ((mask >> source & 1) == 0) {
      fail(text("shuffle: lane ", lane, " reads lane ", source, ", which is not in the mask ",
                std::hex, mask));
    }
    own.result = static_cast<ShuffleArgument*>(arguments[source])->value;
  });
}

struct BallotArgument {
  bool predicate;
  uint32_t result;
};

void execute_ballot(void* const* arguments, uint32_t mask) {
  uint32_t votes = 0;
  for_each_lane<BallotArgument>(arguments, mask, [&](uint32_t lane, const BallotArgument& own) {
    votes |= uint32_t{own.predicate} << lane;
  });
  for_each_lane<BallotArgument>(arguments, mask,
                                [&](uint32_t, BallotArgument& own) { own.result = votes; });
}

struct MatrixLoad {
  uint32_t* registers;
  const void* row;
  int count;
  bool transposed;
  Site site;
  Thread* thread;
};

// The row of an 8x8 matrix is read on behalf of the lane that gives its address.
void execute_load_matrix(void* const* arguments, uint32_t) {
  const auto& first = *static_cast<MatrixLoad*>(arguments[0]);
  uint16_t element[4][8][8];
  Thread* const last_arrived = machine.current;
  for (int i = 0; i < 8 * first.count; ++i) {
    const auto& lane = *static_cast<MatrixLoad*>(arguments[i]);
    machine.current = lane.thread;
    if (reinterpret_cast<uintptr_t>(lane.row) % 16 != 0) {
      fail(text("load_matrix at ", Where{lane.site}, ": ", *lane.thread,
                " gives a row address that is not 16-byte aligned"));
    }
    check_access(lane.row, 16, Access::kRead, lane.site);
    std::memcpy(element[i / 8][i % 8], lane.row, 16);
  }
  machine.current = last_arrived;
  for (int lane = 0; lane < 32; ++lane) {
    const auto& own = *static_cast<MatrixLoad*>(arguments[lane]);
    const int g = lane / 4, t = lane % 4;
    for (int j = 0; j < first.count; ++j) {
      const uint16_t low = first.transposed ? element[j][2 * t][g] : element[j][g][2 * t];
      const uint16_t high = first.transposed ? element[j][2 * t + 1][g] : element[j][g][2 * t + 1];
      own.registers[j] = low | static_cast<uint32_t>(high) << 16;
    }
  }
}

struct MatrixProduct {
  float* d;
  const uint32_t* a;
  const uint32_t* b;
};

// Fragments as documented in src/cuda/ptx/matrix.cuh: `width` elements a register.
template <Format F>
void execute_mma(void* const* arguments, uint32_t) {
  constexpr int kWidth = F == Format::kE4m3 ? 4 : 2;
  constexpr int kDepth = 8 * kWidth;
  constexpr uint32_t kElement = F == Format::kE4m3 ? 0xff : 0xffff;
  static Row a[16], b[8];
  for (Row& row : a) row.finite = true;
  for (Row& column : b) column.finite = true;
  for (int lane = 0; lane < 32; ++lane) {
    const auto& own = *static_cast<MatrixProduct*>(arguments[lane]);
    const int g = lane / 4, t = lane % 4;
    for (int e = 0; e < kWidth; ++e) {
      // Of four E4m3, the two low ones go into the first sum of 16 products, the others follow.
      const int shift = e * 32 / kWidth, k = e / 2 * 16 + 2 * t + e % 2;
      for (int r = 0; r < 4; ++r)
        a[g + r % 2 * 8].set(k + r / 2 * 8, F, own.a[r] >> shift & kElement);
      for (int r = 0; r < 2; ++r) b[g].set(k + r * 8, F, own.b[r] >> shift & kElement);
    }
  }
  const TensorCore core = tensor_core(settings().tensor_core);
  for (int lane = 0; lane < 32; ++lane) {
    float* d = static_cast<MatrixProduct*>(arguments[lane])->d;
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

constexpr char kShuffle[] = "shuffle", kBallot[] = "vote", kSyncWarp[] = "sync_warp",
               kLoadMatrix[] = "load_matrix", kMma[] = "mma";

}  // namespace

uint32_t shuffle(uint32_t value, int mode, uint32_t argument, uint32_t mask, Site site) {
  ShuffleArgument own{value, argument, mode, 0};
  warp_call(kShuffle, mask, site, &own, execute_shuffle);
  return own.result;
}

uint32_t ballot(bool predicate, uint32_t mask, Site site) {
  BallotArgument own{predicate, 0};
  warp_call(kBallot, mask, site, &own, execute_ballot);
  return own.result;
}

void sync_warp(uint32_t mask, Site site) {
  warp_call(kSyncWarp, mask, site, nullptr, [](void* const*, uint32_t lanes) {
    synchronise_warp(machine.current->number / 32 * 32, lanes);
  });
}

void load_matrix(uint32_t* registers, int count, bool transposed, const void* row, Site site) {
  MatrixLoad own{registers, row, count, transposed, site, machine.current};
  warp_call(kLoadMatrix, 0xffffffffu, site, &own, execute_load_matrix);
}

void mma(Format format, float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], Site site) {
  MatrixProduct own{d, a, b};
  Execute execute = execute_mma<Format::kHalf>;
  if (format == Format::kBFloat16) execute = execute_mma<Format::kBFloat16>;
  if (format == Format::kE4m3) execute = execute_mma<Format::kE4m3>;
  warp_call(kMma, 0xffffffffu, site, &own, execute);
}

}  // namespace dovetail::simt
