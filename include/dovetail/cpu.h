// SPDX-License-Identifier: Apache-2.0
// The CPU as a device: which instruction tier runs, and who runs the tasks. Operators own no
// threads: they split a call into tasks for the caller's pool (ONNX Runtime's, or ThreadPool).
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "dovetail/status.h"

namespace dovetail {

// In ascending order; a tier includes the ones before it.
enum class CpuTier : std::uint8_t {
  kGeneric,  // plain C++
  kAvx2,     // AVX2, FMA, F16C
  kAvx512,   // AVX-512 F/BW/VL/DQ, VNNI, BF16
  kAmx,      // AMX int8 and bf16 tiles for the int4 GEMM, the rest as kAvx512
};
const char* name_of(CpuTier tier);  // "generic", "avx2", "avx512", "amx"

struct CpuDevice {
  CpuTier tier = CpuTier::kGeneric;
  int threads = 1;  // how many tasks the caller's pool runs at once; shapes the split, nothing else
};

// The best tier up to avx512 that CPU and operating system support, or the one that the
// environment variable DOVETAIL_CPU names: amx, which no hardware has run yet, is taken only by
// name. An unknown or unavailable name is an error that lists the available tiers.
Result<CpuDevice> cpu_device(int threads);

// Asks the operating system for huge pages under [data, data + bytes), weights that a session
// reads in every step; a wish that may be ignored. Where a mapped file is not in the page cache
// yet, Linux then reads it in 2 MB pieces, if the file system can (ext4 from 6.16, XFS, Btrfs):
// one core of a Zen 4 virtual machine reads an int4 matrix 15 % faster than from pages of 4 KB.
void prefer_huge_pages(const void* data, std::size_t bytes);

// A parallel loop: parallel_for calls task(arg, i) for every i in [0, count), returns when all end.
struct TaskRunner {
  void* context = nullptr;
  void (*parallel_for)(void* context, std::size_t count, void (*task)(void* arg, std::size_t i),
                       void* arg) = nullptr;
};

// A minimal pool for C++ users. The calling thread takes part; the other threads - 1 are workers
// that spin briefly when idle, then sleep.
class ThreadPool {
 public:
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const;
  TaskRunner runner();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace dovetail
