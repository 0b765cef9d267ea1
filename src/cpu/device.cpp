// SPDX-License-Identifier: Apache-2.0
// Tier detection: CPUID says what the core has, XCR0 what the operating system saves,
// and for AMX the kernel has to grant the tile state to the process (Linux:
// arch_prctl ARCH_REQ_XCOMP_PERM, asked once).
#include "dovetail/cpu.h"

#include <algorithm>
#include <cstdlib>
#include <string>

#include "ops/message.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace dovetail {
namespace {

// amx has run on a model of its instructions only: it is taken when DOVETAIL_CPU names it.
constexpr CpuTier kBestMeasured = CpuTier::kAvx512;
constexpr CpuTier kTiers[] = {CpuTier::kGeneric, CpuTier::kAvx2, CpuTier::kAvx512, CpuTier::kAmx};

#if defined(__x86_64__)
struct CpuidLeaf {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
};

CpuidLeaf cpuid(unsigned leaf, unsigned subleaf) {
  CpuidLeaf r;
  if (__get_cpuid_count(leaf, subleaf, &r.eax, &r.ebx, &r.ecx, &r.edx) == 0) {
    return {};
  }
  return r;
}

bool has(unsigned word, std::initializer_list<int> bits) {
  for (int bit : bits) {
    if ((word >> bit & 1u) == 0) {
      return false;
    }
  }
  return true;
}

std::uint64_t read_xcr0() {
  std::uint32_t low = 0;
  std::uint32_t high = 0;
  __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return static_cast<std::uint64_t>(high) << 32 | low;
}

[[maybe_unused]] bool request_amx_permission() {
#if defined(__linux__)
  constexpr long kArchReqXcompPerm = 0x1023;
  constexpr long kXfeatureXtileData = 18;
  return syscall(SYS_arch_prctl, kArchReqXcompPerm, kXfeatureXtileData) == 0;
#else
  return false;
#endif
}

CpuTier detect() {
  const CpuidLeaf l1 = cpuid(1, 0);
  const CpuidLeaf l7 = cpuid(7, 0);
  const CpuidLeaf l7_1 = cpuid(7, 1);
  constexpr int kFma = 12, kOsxsave = 27, kAvx = 28, kF16c = 29;               // leaf 1 ecx
  constexpr int kAvx2 = 5, kF = 16, kDq = 17, kBw = 30, kVl = 31;              // leaf 7 ebx
  constexpr int kVnni = 11;                                                    // leaf 7 ecx
  [[maybe_unused]] constexpr int kAmxBf16 = 22, kAmxTile = 24, kAmxInt8 = 25;  // leaf 7 edx
  constexpr int kAvx512Bf16 = 5;                                               // leaf 7.1 eax
  if (!has(l1.ecx, {kOsxsave, kAvx, kFma, kF16c}) || !has(l7.ebx, {kAvx2})) {
    return CpuTier::kGeneric;
  }
  const std::uint64_t xcr0 = read_xcr0();
  if ((xcr0 & 0x6) != 0x6) {  // SSE and AVX state
    return CpuTier::kGeneric;
  }
  if (!has(l7.ebx, {kF, kDq, kBw, kVl}) || !has(l7.ecx, {kVnni}) || !has(l7_1.eax, {kAvx512Bf16}) ||
      (xcr0 & 0xe0) != 0xe0) {  // opmask and both halves of the 512-bit state
    return CpuTier::kAvx2;
  }
#if !defined(DOVETAIL_AMX_TWIN)  // a test's model of the tiles needs none
  if (!has(l7.edx, {kAmxBf16, kAmxTile, kAmxInt8}) || (xcr0 & 0x60000) != 0x60000 ||
      !request_amx_permission()) {
    return CpuTier::kAvx512;
  }
#endif
  return CpuTier::kAmx;
}
#else
CpuTier detect() {
  return CpuTier::kGeneric;
}
#endif

std::string available_tiers(CpuTier best) {
  std::string list;
  for (CpuTier tier : kTiers) {
    if (tier <= best) {
      list += (list.empty() ? "" : ", ") + std::string(name_of(tier));
    }
  }
  return list;
}

}  // namespace

const char* name_of(CpuTier tier) {
  switch (tier) {
    case CpuTier::kGeneric:
      return "generic";
    case CpuTier::kAvx2:
      return "avx2";
    case CpuTier::kAvx512:
      return "avx512";
    case CpuTier::kAmx:
      return "amx";
  }
  return "unknown";
}

Result<CpuDevice> cpu_device(int threads) {
  static const CpuTier best = detect();
  const char* forced = std::getenv("DOVETAIL_CPU");
  if (forced == nullptr || *forced == '\0') {
    return CpuDevice{std::min(best, kBestMeasured), threads < 1 ? 1 : threads};
  }
  for (CpuTier tier : kTiers) {
    if (std::string(name_of(tier)) == forced && tier <= best) {
      return CpuDevice{tier, threads < 1 ? 1 : threads};
    }
  }
  return unsupported("DOVETAIL_CPU is \"", forced,
                     "\", expected one of the tiers of this machine: ", available_tiers(best));
}

}  // namespace dovetail
