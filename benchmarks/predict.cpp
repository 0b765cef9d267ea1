// SPDX-License-Identifier: Apache-2.0
// What to expect of the operators on GPUs that were not at hand: the cost model of src/ops over the
// ceilings of each GPU. Prints the Markdown tables of docs/performance.md, or checks that they are
// the ones there.
//
//   dovetail-predict                         the tables
//   dovetail-predict --check FILE            0 when FILE holds them between the two marker lines
//
// One call takes   max(bytes / (read * kReadShare), flops / (matrix * share of the operator))
//                  + kStart for each launch.
// The shares and kStart are what the kernels are built for; docs/performance.md says how close an
// H100 comes to them. That other GPUs give the same shares of their ceilings is the prediction.
#include <algorithm>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iostream>
#include <iterator>
#include <sstream>
#include <string>
#include <vector>

#include "ops/attention.h"
#include "ops/int4_gemm.h"

namespace dovetail {
namespace {

// GB/s as read by a kernel, fp16 TFLOP/s with fp32 accumulation.
struct Gpu {
  const char* name;
  int architecture;
  double read, matrix;
  const char* source;
};
constexpr Gpu kGpus[] = {
    {"H100 SXM", 90, 3170, 725, "both measured, above"},
    {"H200 SXM", 90, 4300, 785, "both measured by others with a copy and an 8192^3 product"},
    {"RTX 4090", 89, 930, 150, "92% of 1,008 GB/s, 91% of 165 TFLOP/s: nominal rates"},
    {"AGX Orin", 87, 152.8, 33.5, "both measured by others"},
    {"AGX Thor", 110, 257, 135, "both measured by others, mma.sync assumed to reach it"},
};

constexpr double kReadShare = 0.87;
constexpr double kGemmShare = 0.80, kAttentionShare = 0.65;
constexpr double kStart = 2.5e-6;  // seconds, of a launch in a graph until memory streams, and back
constexpr int kOtherLaunches = 3;  // of a layer: norms, gated activation

double seconds(const Gpu& gpu, const Cost& cost, double matrix_share, int launches) {
  return std::max(cost.bytes / (gpu.read * 1e9 * kReadShare),
                  cost.flops / (gpu.matrix * 1e12 * matrix_share)) +
         launches * kStart;
}

double int4_gemm(const Gpu& gpu, int m, int k, int n) {
  const Int4GemmProblem problem{.attributes = {.gemm_n = n,
                                               .gemm_k = k,
                                               .group_size = 128,
                                               .weight_layout = WeightLayout::kCudaV1},
                                .m = m};
  return seconds(gpu, int4_gemm_cost(problem), kGemmShare, 1);
}

// 32 / 8 heads of 128; `tokens` new ones behind `past`.
double attention(const Gpu& gpu, int batch, int tokens, int past,
                 DataType cache = DataType::kFloat16) {
  const AttentionProblem problem{
      .attributes = {.num_q_heads = 32, .num_kv_heads = 8, .head_size = 128},
      .cache_type = cache,
      .batch = batch,
      .tokens = tokens,
      .capacity = past + tokens};
  return seconds(gpu, attention_cost(problem, past), kAttentionShare, 2);
}

// A Llama-3.1-8B-shaped model with an int4 head over `head_rows` of the tokens.
double model(const Gpu& gpu, int batch, int tokens, int past, int head_rows) {
  const int m = batch * tokens, hidden = 4096;
  const double layer = int4_gemm(gpu, m, hidden, 6144) + int4_gemm(gpu, m, hidden, hidden) +
                       int4_gemm(gpu, m, hidden, 2 * 14336) + int4_gemm(gpu, m, 14336, hidden) +
                       attention(gpu, batch, tokens, past) + kOtherLaunches * kStart;
  return 32 * layer + int4_gemm(gpu, head_rows, hidden, 128256);
}

struct Row {
  const char* name;
  double (*seconds)(const Gpu& gpu);
};
constexpr Row kOperatorRows[] = {
    {"int4 4096 x 14336, M 1", [](const Gpu& g) { return int4_gemm(g, 1, 4096, 14336); }},
    {"the same, M 16", [](const Gpu& g) { return int4_gemm(g, 16, 4096, 14336); }},
    {"the same, M 64", [](const Gpu& g) { return int4_gemm(g, 64, 4096, 14336); }},
    {"the same, M 128", [](const Gpu& g) { return int4_gemm(g, 128, 4096, 14336); }},
    {"the same, M 2048", [](const Gpu& g) { return int4_gemm(g, 2048, 4096, 14336); }},
    {"decode 32/8/128, B 1, 8192", [](const Gpu& g) { return attention(g, 1, 1, 8191); }},
    {"decode 32/8/128, B 8, 8192", [](const Gpu& g) { return attention(g, 8, 1, 8191); }},
    {"the same, E4M3 cache",
     [](const Gpu& g) { return attention(g, 8, 1, 8191, DataType::kFloat8E4M3); }},
    {"tree of 64 tokens on 8192", [](const Gpu& g) { return attention(g, 1, 64, 8192); }},
    {"chunk of 512 tokens on 8192", [](const Gpu& g) { return attention(g, 1, 512, 8192); }},
    {"prefill 2048 tokens", [](const Gpu& g) { return attention(g, 1, 2048, 0); }},
    {"prefill 8192 tokens", [](const Gpu& g) { return attention(g, 1, 8192, 0); }},
};
constexpr Row kModelRows[] = {
    {"decode, B 1, context 2048", [](const Gpu& g) { return model(g, 1, 1, 2047, 1); }},
    {"decode, B 8, context 2048", [](const Gpu& g) { return model(g, 8, 1, 2047, 8); }},
    {"verify a tree of 16 on 2048", [](const Gpu& g) { return model(g, 1, 16, 2048, 16); }},
    {"verify a tree of 64 on 2048", [](const Gpu& g) { return model(g, 1, 64, 2048, 64); }},
    {"prefill 2048 tokens", [](const Gpu& g) { return model(g, 1, 2048, 0, 1); }},
};

template <class Rows>
void table(std::ostream& out, const char* what, const Rows& rows, double unit) {
  out << "| " << what << " |";
  for (const Gpu& gpu : kGpus) out << ' ' << gpu.name << " |";
  out << "\n| ---";
  for (std::size_t i = 0; i < std::size(kGpus); ++i) out << " | ---";
  out << " |\n";
  for (const Row& row : rows) {
    out << "| " << row.name << " |";
    for (const Gpu& gpu : kGpus) {
      char number[32];
      const double value = row.seconds(gpu) / unit;
      std::snprintf(number, sizeof number,
                    value < 10    ? "%.2f"
                    : value < 100 ? "%.1f"
                                  : "%.0f",
                    value);
      out << ' ' << number << " |";
    }
    out << '\n';
  }
}

std::string tables() {
  std::ostringstream out;
  out << "| GPU | architecture | read, GB/s | fp16, TFLOP/s | int4 turns at M | where from |\n"
         "| --- | --- | --- | --- | --- | --- |\n";
  for (const Gpu& gpu : kGpus) {
    // A weight of group 128 is 33/64 bytes and 2 M flops.
    const double turn = gpu.matrix * 1e12 * kGemmShare / (gpu.read * 1e9 * kReadShare) * 33 / 128;
    out << "| " << gpu.name << " | sm_" << gpu.architecture << " | " << gpu.read << " | "
        << gpu.matrix << " | " << static_cast<int>(turn) << " | " << gpu.source << " |\n";
  }
  out << '\n';
  table(out, "one call, us (predicted)", kOperatorRows, 1e-6);
  out << '\n';
  table(out, "Llama-3.1-8B shape, ms (predicted)", kModelRows, 1e-3);
  return out.str();
}

int check(const char* path) {
  static constexpr char kBegin[] = "<!-- dovetail-predict -->\n", kEnd[] = "<!-- end -->";
  std::ifstream file(path);
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  const std::size_t begin = text.find(kBegin), end = text.find(kEnd);
  if (begin == std::string::npos || end == std::string::npos) {
    std::cerr << path << " has no tables between " << kBegin << "and " << kEnd << '\n';
    return 1;
  }
  const std::size_t from = begin + std::strlen(kBegin);
  if (text.substr(from, end - from) == tables()) return 0;
  std::cerr << path << ": the predictions are not those of dovetail-predict, which are\n"
            << tables();
  return 1;
}

}  // namespace
}  // namespace dovetail

int main(int count, char** arguments) {
  if (count == 3 && std::strcmp(arguments[1], "--check") == 0) {
    return dovetail::check(arguments[2]);
  }
  std::cout << dovetail::tables();
  return count == 1 ? 0 : 1;
}
