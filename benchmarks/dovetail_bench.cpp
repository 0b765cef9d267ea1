// SPDX-License-Identifier: Apache-2.0
// dovetail-bench: the operators of this library on this machine, beside the machine's own roofs.
//   dovetail-bench --op int4 --threads 2 --shape 1x4096x4096 --json rows.json
// The tier is the machine's best or DOVETAIL_CPU. Comparisons with other libraries:
// benchmarks/run.py.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <fstream>
#include <iostream>

#include "bench.h"

namespace dovetail::bench {
namespace {

struct Part {
  const char* name;
  std::span<const char* const> (*default_shapes)();
  Result<nlohmann::json> (*measure)(const std::string&, const Options&, ThreadPool&, const Roofs&);
};
constexpr Part kParts[] = {
    {"int4", int4_shapes, measure_int4},
    {"attention", attention_shapes, measure_attention},
};

void print(const nlohmann::json& row) {
  std::printf(
      "%-28s %-6s %10.1f us (min %.1f)  %6.1f GB/s = %3.0f%% of read %5.1f  %7.1f GOP/s = "
      "%3.0f%%\n",
      row["shape"].get<std::string>().c_str(), row["compute"].get<std::string>().c_str(),
      row["median_us"].get<double>(), row["min_us"].get<double>(), row["gb_per_s"].get<double>(),
      row["share_of_read"].get<double>() * 100, row["read_gb_per_s"].get<double>(),
      row["gop_per_s"].get<double>(), row["share_of_peak"].get<double>() * 100);
  std::fflush(stdout);
}

int run(int argc, char** argv) {
  CLI::App app("Times Dovetail's operators; every result is checked before it is timed.");
  Options options;
  std::string op = "all";
  std::string json_path;
  int threads = 2;
  app.add_option("--op", op, "int4, attention or all")->capture_default_str();
  app.add_option("--threads", threads, "threads of the pool")->capture_default_str();
  app.add_option("--seconds", options.seconds, "time per row")->capture_default_str();
  app.add_option("--shape", options.shapes,
                 "shapes of the op instead of its list; int4: MxNxK, "
                 "attention: decode,8192,1,32/8/128,fp16");
  app.add_option("--compute", options.compute, "int4: auto, exact or int8")->capture_default_str();
  app.add_option("--layout", options.layout, "int4: cpu_v1 or edgellm_v1")->capture_default_str();
  app.add_option("--group-size", options.group_size, "int4: 32, 64 or 128")->capture_default_str();
  app.add_option("--type", options.type, "activations: fp32, fp16 or bf16")->capture_default_str();
  app.add_option("--json", json_path, "write the rows and roofs to this file");
  CLI11_PARSE(app, argc, argv);

  const Result<CpuDevice> device = cpu_device(threads);
  if (!device.ok()) {
    std::cerr << device.status().message() << "\n";
    return 1;
  }
  options.device = *device;
  ThreadPool pool(threads);
  const Roofs roofs = measure_roofs(options, pool);
  std::printf("tier %s, %d threads: read %.1f GB/s, fp32 %.0f GFLOP/s, int8 %.0f GOP/s\n",
              name_of(device->tier), threads, roofs.read_gb_per_s, roofs.fma_gflop_per_s,
              roofs.int8_gop_per_s);
  nlohmann::json report{{"tier", name_of(device->tier)},
                        {"threads", threads},
                        {"roofs",
                         {{"read_gb_per_s", roofs.read_gb_per_s},
                          {"fma_gflop_per_s", roofs.fma_gflop_per_s},
                          {"int8_gop_per_s", roofs.int8_gop_per_s}}},
                        {"rows", nlohmann::json::array()}};
  bool known = false;
  for (const Part& part : kParts) {
    if (op != "all" && op != part.name) {
      continue;
    }
    known = true;
    std::vector<std::string> shapes = options.shapes;
    if (shapes.empty()) {
      const std::span<const char* const> all = part.default_shapes();
      shapes.assign(all.begin(), all.end());
    }
    for (const std::string& shape : shapes) {
      const Result<nlohmann::json> row = part.measure(shape, options, pool, roofs);
      if (!row.ok()) {
        std::cerr << row.status().message() << "\n";
        return 1;
      }
      print(*row);
      report["rows"].push_back(*row);
    }
  }
  if (!known) {
    std::cerr << "--op is " << op << ", expected all or one of:";
    for (const Part& part : kParts) {
      std::cerr << " " << part.name;
    }
    std::cerr << "\n";
    return 1;
  }
  if (!json_path.empty() && !(std::ofstream(json_path) << report.dump(1) << "\n")) {
    std::cerr << "cannot write " << json_path << "\n";
    return 1;
  }
  return 0;
}

}  // namespace
}  // namespace dovetail::bench

int main(int argc, char** argv) {
  return dovetail::bench::run(argc, argv);
}
