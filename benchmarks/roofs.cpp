// SPDX-License-Identifier: Apache-2.0
#include "roofs.h"

#include <algorithm>
#include <memory>

#include "bench.h"

namespace dovetail::bench {
namespace {

constexpr std::size_t kReadBytes = std::size_t{512} << 20;
constexpr std::size_t kPieceBytes = std::size_t{1} << 20;

volatile std::uint64_t consumed;  // results end here, so that no loop is removed

std::uint64_t read_words(const void* data, std::size_t bytes) {
  const auto* words = static_cast<const std::uint64_t*>(data);
  std::uint64_t sums[8] = {};
  for (std::size_t i = 0; i < bytes / 8; i += 8) {
    for (std::size_t j = 0; j < 8; ++j) {
      sums[j] ^= words[i + j];
    }
  }
  return sums[0] ^ sums[1] ^ sums[2] ^ sums[3] ^ sums[4] ^ sums[5] ^ sums[6] ^ sums[7];
}

bool has_avx2() {
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}

// The machine's best loop, whatever tier is forced: the memory is the same.
std::uint64_t read(const void* data, std::size_t bytes) {
  return has_avx2() ? kRoofLoopsAvx2.read(data, bytes) : read_words(data, bytes);
}

}  // namespace

double measure_read_rate(ThreadPool& pool) {
  static const std::unique_ptr<std::uint64_t[]> data = [] {
    auto words = std::make_unique_for_overwrite<std::uint64_t[]>(kReadBytes / 8);
    prefer_huge_pages(words.get(), kReadBytes);
    for (std::size_t i = 0; i < kReadBytes / 8; ++i) {
      words[i] = i;  // touched: untouched pages would all be the zero page
    }
    return words;
  }();
  // 32 MB a sample, one after the other through the whole buffer: short enough that the best
  // samples escape the neighbours of a shared machine, as the best samples of an operator do.
  constexpr std::size_t kSampleBytes = std::size_t{32} << 20;
  const Timing timing = time_calls(0.25, [&](std::int64_t sample) {
    std::uint64_t* first = data.get() + static_cast<std::size_t>(sample) %
                                            (kReadBytes / kSampleBytes) * (kSampleBytes / 8);
    const TaskRunner tasks = pool.runner();
    tasks.parallel_for(
        tasks.context, kSampleBytes / kPieceBytes,
        [](void* arg, std::size_t i) {
          consumed = read(static_cast<std::uint64_t*>(arg) + i * (kPieceBytes / 8), kPieceBytes);
        },
        first);
  });
  return static_cast<double>(kSampleBytes) / timing.min_us * 1e-3;
}

Roofs measure_roofs(const Options& options, ThreadPool& pool) {
  Roofs roofs{.read_gb_per_s = measure_read_rate(pool)};
  const RoofLoops* loops = options.device.tier >= CpuTier::kAvx512 ? &kRoofLoopsAvx512
                           : options.device.tier == CpuTier::kAvx2 ? &kRoofLoopsAvx2
                                                                   : nullptr;
  if (loops == nullptr) {
    return roofs;
  }
  constexpr std::int64_t kRounds = 200'000;
  const RoofLoops* tiles = options.device.tier == CpuTier::kAmx ? &kRoofLoopsAmx : loops;
  const auto on_every_thread = [&](const RoofLoops* of, void (*task)(void*, std::size_t)) {
    const auto threads = static_cast<std::size_t>(pool.threads());
    const Timing timing = time_calls(0.1, [&](std::int64_t) {
      const TaskRunner tasks = pool.runner();
      tasks.parallel_for(tasks.context, threads, task, const_cast<RoofLoops*>(of));
    });
    return static_cast<double>(threads) * kRounds / timing.min_us * 1e-3;
  };
  roofs.fma_gflop_per_s =
      loops->fma_flops * on_every_thread(loops, [](void* arg, std::size_t) {
        consumed = static_cast<std::uint64_t>(static_cast<const RoofLoops*>(arg)->fma(kRounds));
      });
  roofs.int8_gop_per_s =
      tiles->int8_ops * on_every_thread(tiles, [](void* arg, std::size_t) {
        consumed = static_cast<std::uint64_t>(static_cast<const RoofLoops*>(arg)->int8(kRounds));
      });
  return roofs;
}

}  // namespace dovetail::bench
