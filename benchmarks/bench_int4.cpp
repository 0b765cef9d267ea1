// SPDX-License-Identifier: Apache-2.0
// The int4 GEMM: distinct random weights, rotated beyond the last-level cache, so that a
// decode-shaped row reads its weights from memory as a model does. Shapes are "MxNxK".
#include <cmath>
#include <cstdio>
#include <memory>

#include "bench.h"
#include "layout/int4_layout.h"
#include "layout/narrow_float.h"
#include "ops/int4_gemm.h"
#include "ops/int4_gemm_reference.h"
#include "ops/message.h"
#include "support/error_budget.h"
#include "support/random.h"
#include "support/typed_values.h"

namespace dovetail::bench {
namespace {

using test_support::Random;

// Beyond any last-level cache of the machines at hand; large M re-reads nothing from memory anyway.
constexpr std::int64_t kRotationBytes = std::int64_t{256} << 20;
constexpr std::int64_t kRotationBytesLargeM = std::int64_t{64} << 20;

const char* const kShapes[] = {"1x4096x4096",    "1x14336x4096",  "1x4096x14336",  "1x2048x2048",
                               "1x8192x2048",    "1x2048x8192",   "2x4096x4096",   "4x4096x4096",
                               "8x4096x4096",    "16x4096x4096",  "4x14336x4096",  "8x14336x4096",
                               "16x14336x4096",  "64x4096x4096",  "64x14336x4096", "512x4096x4096",
                               "512x14336x4096", "512x4096x14336"};

struct Weights {
  std::unique_ptr<std::byte[]> codes;
  std::unique_ptr<std::byte[]> scales;
};

struct Buffer {
  explicit Buffer(std::size_t bytes)
      : data(static_cast<std::byte*>(std::aligned_alloc(64, (bytes + 64) / 64 * 64))) {}
  struct Free {
    void operator()(std::byte* p) const { std::free(p); }
  };
  std::unique_ptr<std::byte, Free> data;
};

Result<DataType> type_named(const std::string& name) {
  for (DataType type : {DataType::kFloat32, DataType::kFloat16, DataType::kBFloat16}) {
    if (name == name_of(type)) {
      return type;
    }
  }
  return invalid_argument("--type is ", name, ", expected fp32, fp16 or bf16");
}

Result<Int4GemmProblem> problem_of(const std::string& shape, const Options& o) {
  Int4GemmProblem p;
  if (std::sscanf(shape.c_str(), "%ldx%dx%d", &p.m, &p.attributes.gemm_n, &p.attributes.gemm_k) !=
      3) {
    return invalid_argument("shape is ", shape, ", expected MxNxK");
  }
  p.attributes.group_size = o.group_size;
  p.attributes.weight_layout =
      o.layout == "edgellm_v1" ? WeightLayout::kEdgeLlmV1 : WeightLayout::kCpuV1;
  p.attributes.compute_mode = o.compute == "exact"  ? ComputeMode::kExact
                              : o.compute == "int8" ? ComputeMode::kInt8
                                                    : ComputeMode::kAuto;
  const Result<DataType> type = type_named(o.type);
  if (!type.ok()) {
    return type.status();
  }
  p.activation_type = *type;
  p.scale_type = DataType::kFloat16;
  DOVETAIL_RETURN_IF_ERROR(validate(p));
  return p;
}

// Up to 4 rows, spread, against fp64. The kernels sum G terms, then K/G of those sums: an fp32
// rounding error of at most (G + K/G) * 2^-24 of the sum of magnitudes, plus the rounding of the
// output.
Status check(const Int4GemmProblem& problem, const Int4GemmBuffers& buffers, bool int8) {
  const std::int64_t n = problem.attributes.gemm_n;
  const std::int64_t k = problem.attributes.gemm_k;
  const std::int64_t groups = k / problem.attributes.group_size;
  const auto element = static_cast<std::int64_t>(size_of(problem.activation_type));
  for (std::int64_t i = 0; i < std::min<std::int64_t>(problem.m, 4); ++i) {
    const std::int64_t row =
        problem.m == 1 ? 0 : i * (problem.m - 1) / std::min<std::int64_t>(problem.m - 1, 3);
    Int4GemmProblem one = problem;
    one.m = 1;
    one.attributes.compute_mode = int8 ? ComputeMode::kInt8 : ComputeMode::kExact;
    Int4GemmBuffers at = buffers;
    at.activations = static_cast<const std::byte*>(buffers.activations) + row * k * element;
    std::vector<double> reference(static_cast<std::size_t>(n)), magnitude(reference.size());
    DOVETAIL_RETURN_IF_ERROR(int4_gemm_reference(one, at, reference, magnitude));
    for (std::size_t c = 0; c < reference.size(); ++c) {
      const double got = test_support::load_value(buffers.output, problem.activation_type,
                                                  static_cast<std::size_t>(row * n) + c);
      const double allowed =
          static_cast<double>(problem.attributes.group_size + groups) * 0x1p-24 * magnitude[c] +
          test_support::half_unit(reference[c], problem.activation_type);
      if (!(std::abs(got - reference[c]) <= allowed)) {
        return internal_error("int4_gemm: output[", row, ", ", c, "] is ", got, ", expected ",
                              reference[c], " within ", allowed);
      }
    }
  }
  return Status::success();
}

}  // namespace

Result<nlohmann::json> measure_int4(const std::string& shape, const Options& options,
                                    ThreadPool& pool, const Roofs& roofs) {
  const Result<Int4GemmProblem> problem = problem_of(shape, options);
  if (!problem.ok()) {
    return problem.status();
  }
  const Result<CpuInt4GemmPlan> planned = plan(*problem, options.device);
  if (!planned.ok()) {
    return planned.status();
  }
  const bool int8 = planned->describe().find(", int8, ") != std::string::npos;
  const std::int64_t weight_bytes = weights_shape(problem->attributes).count();
  const std::int64_t scale_count = scales_shape(problem->attributes).count();
  const std::int64_t rotation = problem->m >= 64 ? kRotationBytesLargeM : kRotationBytes;
  const std::int64_t copies =
      std::max<std::int64_t>((rotation + weight_bytes - 1) / weight_bytes, 2);

  Random random(1);
  std::vector<Weights> weights(static_cast<std::size_t>(copies));
  for (Weights& w : weights) {
    w.codes = std::make_unique_for_overwrite<std::byte[]>(static_cast<std::size_t>(weight_bytes));
    prefer_huge_pages(w.codes.get(), static_cast<std::size_t>(weight_bytes));
    for (std::int64_t i = 0; i < weight_bytes; i += 8) {
      const std::uint64_t bits = random.bits();
      std::memcpy(w.codes.get() + i, &bits, 8);
    }
    w.scales =
        std::make_unique_for_overwrite<std::byte[]>(static_cast<std::size_t>(scale_count * 2));
    for (std::int64_t i = 0; i < scale_count; ++i) {
      const std::uint16_t half = float_to_half(random.uniform(0.002f, 0.02f));
      std::memcpy(w.scales.get() + i * 2, &half, 2);
    }
  }
  const std::int64_t inputs = problem->m * problem->attributes.gemm_k;
  const Buffer activations(static_cast<std::size_t>(inputs) * 4);
  const Buffer output(static_cast<std::size_t>(problem->m * problem->attributes.gemm_n) * 4);
  const Buffer workspace(planned->workspace_bytes());
  for (std::int64_t i = 0; i < inputs; ++i) {
    test_support::store_value(activations.data.get(), problem->activation_type,
                              static_cast<std::size_t>(i), random.bell());
  }
  const auto buffers_of = [&](std::int64_t i) {
    const Weights& w = weights[static_cast<std::size_t>(i % copies)];
    return Int4GemmBuffers{.activations = activations.data.get(),
                           .weights = w.codes.get(),
                           .scales = w.scales.get(),
                           .output = output.data.get(),
                           .workspace = workspace.data.get()};
  };
  DOVETAIL_RETURN_IF_ERROR(planned->run(buffers_of(copies - 1), pool.runner()));
  DOVETAIL_RETURN_IF_ERROR(check(*problem, buffers_of(copies - 1), int8));

  const double before = measure_read_rate(pool);
  const Timing timing = time_calls(options.seconds, [&](std::int64_t i) {
    static_cast<void>(planned->run(buffers_of(i), pool.runner()));
  });
  const double read = std::max(before, measure_read_rate(pool));
  const Cost cost = int4_gemm_cost(*problem);
  nlohmann::json row = to_json(timing);
  row["op"] = "int4_gemm";
  row["shape"] = shape;
  row["compute"] = int8 ? "int8" : "exact";
  row["plan"] = planned->describe();
  row["read_gb_per_s"] = read;
  row["gb_per_s"] = cost.bytes / timing.median_us * 1e-3;
  row["share_of_read"] = cost.bytes / timing.min_us * 1e-3 / read;  // best against best
  row["gop_per_s"] = cost.flops / timing.median_us * 1e-3;
  const double peak = int8 ? roofs.int8_gop_per_s : roofs.fma_gflop_per_s;
  row["share_of_peak"] = peak > 0 ? cost.flops / timing.median_us * 1e-3 / peak : 0.0;
  return row;
}

std::span<const char* const> int4_shapes() {
  return kShapes;
}

}  // namespace dovetail::bench
