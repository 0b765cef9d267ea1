// SPDX-License-Identifier: Apache-2.0
// Which table of functions a tier runs: its own, or that of the best tier below which has one. The
// tables beyond generic exist on x86 only.
#pragma once

#include "dovetail/cpu.h"

namespace dovetail {

template <class Kernels>
struct TierKernels {
  const Kernels* generic;
  const Kernels* avx2 = generic;
  const Kernels* avx512 = avx2;
  const Kernels* amx = avx512;

  constexpr const Kernels& of(CpuTier tier) const {
    const Kernels* tables[] = {generic, avx2, avx512, amx};
    return *tables[static_cast<int>(tier)];
  }
};

}  // namespace dovetail
