// SPDX-License-Identifier: Apache-2.0
// The case table of ResidualRMSNorm, its data and its judge, for every backend.
#pragma once

#include <cmath>
#include <cstdint>
#include <ostream>
#include <string>
#include <vector>

#include "ops/residual_norm.h"
#include "support/error_budget.h"
#include "support/random.h"
#include "support/typed_values.h"

namespace dovetail::test_support {

struct ResidualNormCase {
  const char* reason;
  std::int64_t m, hidden;
  DataType type;
  double scale = 1.0;                // of x and residual
  std::vector<std::int64_t> rows{};  // of B lanes, M of them in all
  std::int64_t tokens = 0;           // S, with rows
};

inline std::ostream& operator<<(std::ostream& out, const ResidualNormCase& c) {
  return out << c.reason;
}

inline const std::vector<ResidualNormCase>& residual_norm_cases() {
  constexpr DataType kF32 = DataType::kFloat32, kF16 = DataType::kFloat16,
                     kBf16 = DataType::kBFloat16;
  static const std::vector<ResidualNormCase> cases = {
      {"one_element", 1, 1, kF32},
      {"one_vector", 1, 4, kF32},
      {"a_warp_and_a_vector", 3, 132, kF32},
      {"no_vectors", 3, 257, kF16},
      {"decode_of_a_1b_model", 1, 2048, kF16},
      {"decode_of_an_8b_model_on_8_lanes", 8, 4096, kF16},
      {"a_row_wider_than_a_block_of_vectors", 2, 8200, kF16},
      {"a_row_wider_than_a_block_of_elements", 2, 1027, kBf16},
      {"brain_vectors", 5, 896, kBf16},
      {"fp32_over_several_pieces", 2, 8192, kF32},
      {"sums_of_thousands_in_half", 4, 512, kF16, 4000.0},
      {"as_small_as_epsilon", 4, 512, kF16, 0.003},
      {"no_row", 0, 64, kF16},
      {"the_last_token_of_three_lanes", 3, 256, kF16, 1.0, {4, 0, 2}, 5},
      {"two_tokens_of_two_lanes_without_vectors", 4, 33, kBf16, 1.0, {0, 6, 6, 3}, 7},
  };
  return cases;
}

// Inputs, both outputs in fp64, and the same math in fp32 with the sum rounded where it is stored.
struct ResidualNormInstance {
  explicit ResidualNormInstance(const ResidualNormCase& c)
      : problem(problem_of(c)),
        rows(c.rows),
        x(values(source_rows(c) * c.hidden, c.type, c.scale, 1)),
        residual(values(source_rows(c) * c.hidden, c.type, c.scale, 2)),
        weight(values(c.hidden, c.type, 1.0, 3)) {
    const auto count = static_cast<std::size_t>(c.m * c.hidden);
    normed.resize(count);
    sum.resize(count);
    const Status status = residual_norm_reference(
        problem,
        {.x = x.data(), .residual = residual.data(), .weight = weight.data(), .rows = rows.data()},
        normed, sum);
    EXPECT_TRUE(status.ok()) << status.message();
    for (std::int64_t row = 0; row < c.m; ++row) {
      add_model_row(static_cast<std::size_t>(row * c.hidden),
                    static_cast<std::size_t>(source_row(problem, rows.data(), row) * c.hidden));
    }
  }

  std::string judge(const std::vector<double>& got_normed,
                    const std::vector<double>& got_sum) const {
    const DataType type = problem.activation_type;
    std::string why = check_error_budget(
        {.got = got_sum, .model = model_sum, .reference = sum, .magnitude = {}, .storage = type});
    if (why.empty()) {
      why = check_error_budget({.got = got_normed,
                                .model = model_normed,
                                .reference = normed,
                                .magnitude = {},
                                .storage = type});
    }
    return why;
  }

  std::size_t bytes() const { return count() * size_of(problem.activation_type); }
  std::size_t count() const { return sum.size(); }

  ResidualNormProblem problem;
  std::vector<std::int64_t> rows;
  std::vector<std::byte> x, residual, weight;
  std::vector<double> normed, sum, model_normed, model_sum;

 private:
  // L of the cases with rows: one for an odd number of rows, two for an even one.
  static std::int64_t rows_per_lane(const ResidualNormCase& c) { return c.m % 2 == 0 ? 2 : 1; }

  static std::int64_t source_rows(const ResidualNormCase& c) {
    return c.rows.empty() ? c.m : c.m / rows_per_lane(c) * c.tokens;
  }

  static ResidualNormProblem problem_of(const ResidualNormCase& c) {
    ResidualNormProblem problem{
        .attributes = {.epsilon = 1e-5f, .has_rows = c.rows.empty() ? 0 : 1},
        .activation_type = c.type,
        .m = c.m,
        .hidden = c.hidden};
    if (!c.rows.empty()) {
      problem.tokens = c.tokens;
      problem.rows_per_lane = rows_per_lane(c);
    }
    return problem;
  }

  static std::vector<std::byte> values(std::int64_t count, DataType type, double scale, int seed) {
    Random random(seed);
    std::vector<double> numbers(static_cast<std::size_t>(count));
    for (double& number : numbers) {
      number = scale * static_cast<double>(random.bell());
    }
    std::vector<std::byte> stored(numbers.size() * size_of(type));
    store_values(stored.data(), type, numbers);
    return stored;
  }

  void add_model_row(std::size_t begin, std::size_t source) {
    const DataType type = problem.activation_type;
    const auto hidden = static_cast<std::size_t>(problem.hidden);
    float squares = 0;
    for (std::size_t i = source; i < source + hidden; ++i) {
      const auto a = static_cast<float>(load_value(x.data(), type, i));
      const auto b = static_cast<float>(load_value(residual.data(), type, i));
      model_sum.push_back(rounded(static_cast<double>(a + b), type));
      const auto value = static_cast<float>(model_sum.back());
      squares += value * value;
    }
    const float mean = squares / static_cast<float>(problem.hidden);
    const float factor = 1.0f / std::sqrt(mean + problem.attributes.epsilon);
    for (std::size_t i = 0; i < hidden; ++i) {
      const auto value = static_cast<float>(model_sum[begin + i]);
      const auto w = static_cast<float>(load_value(weight.data(), type, i));
      model_normed.push_back(rounded(static_cast<double>(value * factor * w), type));
    }
  }
};

}  // namespace dovetail::test_support
