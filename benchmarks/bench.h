// SPDX-License-Identifier: Apache-2.0
// What every part of dovetail-bench shares: options, the roofs of the machine measured in the same
// run, and the timer. A part measures one operator and returns its rows as JSON; dovetail_bench.cpp
// lists the parts. Every part checks its result before it times anything and returns an error
// instead of a number when the result is wrong.
#pragma once

#include <cstdint>
#include <functional>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

#include "dovetail/cpu.h"
#include "dovetail/status.h"

namespace dovetail::bench {

struct Options {
  CpuDevice device;
  double seconds = 0.5;             // per row
  std::vector<std::string> shapes;  // of the part; empty: its own list
  std::string compute = "auto";     // int4: auto, exact, int8
  std::string layout = "cpu_v1";    // int4
  int group_size = 128;             // int4
  std::string type = "fp32";        // of the activations
};

// Rates that no kernel can pass, on the threads of the run. Memory is read from huge pages, as a
// package's weights are, beyond the last-level cache.
struct Roofs {
  double read_gb_per_s = 0;
  double fma_gflop_per_s = 0;  // fp32
  double int8_gop_per_s = 0;   // u8 x s8 into 32 bits (avx2: into 16 bits, folded every 8 steps)
};
Roofs measure_roofs(const Options& options, ThreadPool& pool);
// The read rate alone: before and after every row, because shared machines drift.
double measure_read_rate(ThreadPool& pool);

struct Timing {
  double median_us = 0;
  double min_us = 0;
  double p90_us = 0;
  int samples = 0;
};
// Calls run(i), i = 0, 1, ..., until `seconds` are over, at least 5 times after 2 warm-up calls.
Timing time_calls(double seconds, const std::function<void(std::int64_t)>& run);

nlohmann::json to_json(const Timing& timing);

// The default shapes of each operator, and one measured row for a shape. A row has at least: op,
// shape, compute, median_us, min_us, gb_per_s, share_of_read, read_gb_per_s, gop_per_s,
// share_of_peak.
std::span<const char* const> int4_shapes();
Result<nlohmann::json> measure_int4(const std::string& shape, const Options& options,
                                    ThreadPool& pool, const Roofs& roofs);
std::span<const char* const> attention_shapes();
Result<nlohmann::json> measure_attention(const std::string& shape, const Options& options,
                                         ThreadPool& pool, const Roofs& roofs);

}  // namespace dovetail::bench
