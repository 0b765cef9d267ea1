// SPDX-License-Identifier: Apache-2.0
// Workspace is not monotonic: one token splits its keys, or K, over the whole GPU and needs room
// for the partial sums, a long prompt does not. So the bound is searched for: the plan of every
// batch, of every token count up to 64 and of those that fill a tile beyond, in every mode, on
// every class of GPU with more multiprocessors than any has. Planners keep to the rules that make
// the search complete (workspace_bound_test): tiles have a multiple of 64 rows when a call has more
// than 64, a row being a token of int4_gemm or a token's head within its group; while the number of
// tiles stays the same, workspace grows with the rows; more capacity or multiprocessors never
// shrink it.
#include <algorithm>
#include <optional>
#include <vector>

#include "cuda/int4_gemm_plan.h"
#include "dovetail/cuda.h"

namespace dovetail {
namespace {

constexpr int kMostMultiprocessors = 192;  // GB202 has 192, GB100 148
constexpr CudaDevice device(int compute_capability, int shared_memory_kib) {
  return {.compute_capability = compute_capability,
          .multiprocessors = kMostMultiprocessors,
          .shared_memory_bytes = shared_memory_kib * 1024,
          .l2_bytes = std::size_t{128} << 20};
}
// One per shared-memory size and generation of tensor cores.
constexpr CudaDevice kDevices[] = {device(80, 163), device(86, 99), device(90, 227),
                                   device(100, 227), device(120, 99)};

// Token counts to try; a token has `group` rows.
std::vector<std::int64_t> token_counts(std::int64_t largest, std::int64_t group) {
  std::vector<std::int64_t> counts;
  for (std::int64_t tokens = 1; tokens < std::min<std::int64_t>(largest, 65); ++tokens) {
    counts.push_back(tokens);
  }
  for (std::int64_t rows = 64; rows / group < largest; rows += 64) {
    if (rows / group > 64) {
      counts.push_back(rows / group);
    }
  }
  counts.push_back(largest);
  return counts;
}

// The largest workspace so far, or the first reason why there is none.
class Bound {
 public:
  template <class Problem>
  void take(const Problem& problem) {
    for (const CudaDevice& gpu : kDevices) {
      const auto planned = plan(problem, gpu);
      if (planned.ok()) {
        bytes_ = std::max(bytes_.value_or(0), planned->workspace_bytes());
        if constexpr (std::is_same_v<Problem, Int4GemmProblem>) {
          bytes_ = std::max(*bytes_, cuda::most_int4_gemm_workspace(problem, gpu));
        }
      } else if (reason_.ok()) {
        reason_ = planned.status();
      }
    }
  }
  Result<std::size_t> result() const {
    return bytes_.has_value() ? Result<std::size_t>(*bytes_) : Result<std::size_t>(reason_);
  }

 private:
  std::optional<std::size_t> bytes_;
  Status reason_;
};

}  // namespace

Result<std::size_t> workspace_bound(const AttentionProblem& largest) {
  DOVETAIL_RETURN_IF_ERROR(validate(largest));
  const std::int64_t group = largest.attributes.num_q_heads / largest.attributes.num_kv_heads;
  Bound bound;
  AttentionProblem problem = largest;
  for (std::int64_t batch = 1; batch <= std::max<std::int64_t>(largest.batch, 1); ++batch) {
    problem.batch = std::min(batch, largest.batch);
    problem.rope_batch = std::min(largest.rope_batch, problem.batch);
    for (const std::int64_t tokens : token_counts(largest.tokens, group)) {
      problem.tokens = tokens;
      for (const AttentionMode mode : {AttentionMode::kPrefill, AttentionMode::kChunkedPrefill,
                                       AttentionMode::kDecode, AttentionMode::kTreeDecode}) {
        problem.mode = mode;
        const bool allowed = mode == AttentionMode::kDecode ? tokens == 1
                             : mode == AttentionMode::kTreeDecode
                                 ? problem.attributes.enable_tree_attention != 0
                                 : true;
        if (allowed) {
          bound.take(problem);
        }
      }
    }
  }
  return bound.result();
}

Result<std::size_t> workspace_bound(const Int4GemmProblem& largest) {
  Bound bound;
  Int4GemmProblem problem = largest;
  for (const std::int64_t rows : token_counts(largest.m, 1)) {
    problem.m = rows;
    bound.take(problem);
  }
  return bound.result();
}

}  // namespace dovetail
