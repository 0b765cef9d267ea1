// SPDX-License-Identifier: Apache-2.0
// Scores of one stage, their mask, and the online softmax in base 2:
//
//   weight = 2^(unit * score - unit * top),  unit = scale * log2(e), top = largest score so far
//
// so that scaling costs one fma per score. With a softcap scores become cap * log2(e) * tanh(..)
// and unit is 1. A row that has seen nothing keeps top = -inf and weights of zero.
#pragma once

#include <bit>

#include "cuda/attention_stage.cuh"

namespace dovetail::cuda {

inline constexpr float kLog2e = 1.44269504088896340736f;

DOVETAIL_DEVICE constexpr float minus_infinity() {
  return std::bit_cast<float>(0xff800000u);
}

// What a warp carries from stage to stage. Row half h of row tile m is row m * 16 + h * 8 + g.
template <class S>
struct WarpState {
  float sums[S::kRowTiles][S::kHeadSize / 8][4];
  float top[S::kRowTiles][2];
  float total[S::kRowTiles][2];  // of this lane's columns; the quad's are added at the end
};

template <class S>
DOVETAIL_DEVICE void begin_rows(WarpState<S>& state) {
  DOVETAIL_UNROLL
  for (int m = 0; m < S::kRowTiles; ++m) {
    DOVETAIL_UNROLL
    for (int n = 0; n < S::kHeadSize / 8; ++n) {
      DOVETAIL_UNROLL
      for (float& sum : state.sums[m][n]) sum = 0.0f;
    }
    DOVETAIL_UNROLL
    for (int half = 0; half < 2; ++half) {
      state.top[m][half] = minus_infinity();
      state.total[m][half] = 0.0f;
    }
  }
}

// What a row sees: in shared memory, since few stages are masked and registers are short.
struct RowView {
  KeyBounds bounds;
  int32_t token;  // counted over all lanes: row of the tree mask
};

struct ScoreRule {
  float unit;       // of the exponent
  float cap_scale;  // scale / cap * 2 log2(e)
  float cap;        // cap * log2(e); 0: off
};

DOVETAIL_DEVICE ScoreRule score_rule(const AttentionArguments& p) {
  const float scale = p.kv_scales == nullptr ? p.scale : p.scale * p.kv_scales[0];
  if (p.softcap > 0.0f) {
    return {1.0f, scale * p.per_softcap * (2.0f * kLog2e), p.softcap * kLog2e};
  }
  return {scale * kLog2e, 0.0f, 0.0f};
}

// tanh(x) with e = 2 x log2(e): 1 - 2 / (2^e + 1); absolute error about 2^-23.
DOVETAIL_DEVICE float tanh_of_exponent(float e) {
  return 1.0f - 2.0f * ptx::reciprocal_fast(ptx::exp2_fast(e) + 1.0f);
}

template <class S>
using Scores = float[S::kRowTiles][S::kKeyTiles][4];
template <class S>
using QueryFragments = uint32_t[S::kRowTiles][S::kHoldQuery ? S::kSteps : 1][4];

// scores = Q K^T over the warp's rows and keys.
template <class S>
DOVETAIL_DEVICE void multiply_keys(Scores<S>& scores, QueryFragments<S>& held,
                                   const std::byte* query, const std::byte* keys) {
  DOVETAIL_UNROLL
  for (int m = 0; m < S::kRowTiles; ++m) {
    DOVETAIL_UNROLL
    for (int n = 0; n < S::kKeyTiles; ++n) {
      DOVETAIL_UNROLL
      for (float& score : scores[m][n]) score = 0.0f;
    }
  }
  // Few products follow one another: every other one adds to sums of its own, for half the latency.
  constexpr bool kTwice = S::kKeyTiles == 2 && S::kRowTiles == 1 && S::kHeadSize <= 128;
  Scores<S> odd{};
  DOVETAIL_UNROLL
  for (int step = 0; step < S::kSteps; ++step) {
    const int slot = S::kHoldQuery ? step : 0;
    Scores<S>& sums = kTwice && step % 2 == 1 ? odd : scores;
    if constexpr (!S::kHoldQuery) {
      DOVETAIL_UNROLL
      for (int m = 0; m < S::kRowTiles; ++m) query_fragment<S>(held[m][0], query, m * 16, step);
    }
    DOVETAIL_UNROLL
    for (int n = 0; n < S::kKeyTiles; n += 2) {
      uint32_t b[2][2];
      key_fragments<S>(b, keys, n * 8, step);
      DOVETAIL_UNROLL
      for (int m = 0; m < S::kRowTiles; ++m) {
        ptx::mma_m16n8k16<typename S::T>(sums[m][n], held[m][slot], b[0]);
        ptx::mma_m16n8k16<typename S::T>(sums[m][n + 1], held[m][slot], b[1]);
      }
    }
  }
  if constexpr (kTwice) {
    DOVETAIL_UNROLL
    for (int n = 0; n < 2; ++n) {
      DOVETAIL_UNROLL
      for (int i = 0; i < 4; ++i) scores[0][n][i] += odd[0][n][i];
    }
  }
}

template <class S>
DOVETAIL_DEVICE void cap_scores(Scores<S>& scores, const ScoreRule& rule) {
  DOVETAIL_UNROLL
  for (int m = 0; m < S::kRowTiles; ++m) {
    DOVETAIL_UNROLL
    for (int n = 0; n < S::kKeyTiles; ++n) {
      DOVETAIL_UNROLL
      for (float& score : scores[m][n]) {
        score = rule.cap * tanh_of_exponent(score * rule.cap_scale);
      }
    }
  }
}

// Scores of unseen keys become -inf; `views` are of the warp's rows, `first` is the slot of its first
// key. Without Trees the call's mode has none.
template <class S, bool Trees = true>
DOVETAIL_DEVICE void mask_scores(Scores<S>& scores, const RowView* views,
                                 const AttentionArguments& p, int32_t history, int32_t first) {
  const bool tree = Trees && p.mode == AttentionMode::kTreeDecode;
  const int32_t column = static_cast<int32_t>(ptx::lane_index()) % 4 * 2;
  DOVETAIL_UNROLL
  for (int m = 0; m < S::kRowTiles; ++m) {
    DOVETAIL_UNROLL
    for (int half = 0; half < 2; ++half) {
      const RowView view = views[m * 16 + half * 8 + static_cast<int32_t>(ptx::lane_index()) / 4];
      // Bounds in places of this lane's first column; padding sees nothing.
      const int32_t low = view.bounds.low - first - column;
      const auto span = static_cast<uint32_t>(
          view.bounds.high < view.bounds.low ? 0 : view.bounds.high - view.bounds.low);
      const bool in_tree = tree && !view.bounds.padding();
      uint32_t bits = 0;
      DOVETAIL_UNROLL
      for (int n = 0; n < S::kKeyTiles; ++n) {
        if (Trees && n % 4 == 0 && in_tree) {
          bits = mask_bits(p.tree_mask + int64_t{view.token} * p.mask_words, p.mask_words,
                           first + n * 8 - history) >>
                 column;
        }
        DOVETAIL_UNROLL
        for (int i = 0; i < 2; ++i) {
          const bool seen = static_cast<uint32_t>(n * 8 + i - low) < span ||
                            (Trees && (bits >> (n % 4 * 8 + i) & 1) != 0);
          if (!seen) scores[m][n][2 * half + i] = minus_infinity();
        }
      }
    }
  }
}

// Scores become weights; what was summed before is to be scaled by `factor` to the new top.
// Of rows that do not exist, the upper `halves` of 8 may be left out.
template <class S>
DOVETAIL_DEVICE void weigh(Scores<S>& scores, WarpState<S>& state, float unit,
                           float (&factors)[S::kRowTiles][2], int halves = 2) {
  DOVETAIL_UNROLL
  for (int m = 0; m < S::kRowTiles; ++m) {
    DOVETAIL_UNROLL
    for (int half = 0; half < 2; ++half) {
      if (half >= halves) break;
      float top = state.top[m][half];
      DOVETAIL_UNROLL
      for (int n = 0; n < S::kKeyTiles; ++n) {
        top = ptx::larger(top, ptx::larger(scores[m][n][2 * half], scores[m][n][2 * half + 1]));
      }
      top = ptx::larger(top, ptx::shuffle_xor(top, 1));
      top = ptx::larger(top, ptx::shuffle_xor(top, 2));
      const float base = top == minus_infinity() ? 0.0f : top * unit;
      const float factor = ptx::exp2_fast(state.top[m][half] * unit - base);
      state.top[m][half] = top;
      float total = state.total[m][half] * factor;
      DOVETAIL_UNROLL
      for (int n = 0; n < S::kKeyTiles; ++n) {
        DOVETAIL_UNROLL
        for (int i = 2 * half; i < 2 * half + 2; ++i) {
          scores[m][n][i] = ptx::exp2_fast(scores[m][n][i] * unit - base);
          total += scores[m][n][i];
        }
      }
      state.total[m][half] = total;
      factors[m][half] = factor;
    }
  }
}

// Few stages raise the top of a row; a warp with many sums looks first. (Below sm_90 the branch costs
// registers that are not there: 40 bytes spilled.)
template <class S>
DOVETAIL_DEVICE void rescale(WarpState<S>& state, const float (&factors)[S::kRowTiles][2],
                             int halves = 2) {
  DOVETAIL_UNROLL
  for (int m = 0; m < S::kRowTiles; ++m) {
    if constexpr (S::kRowTiles * S::kHeadSize >= 256 && DOVETAIL_ARCH >= 90) {
      if (ptx::all(factors[m][0] == 1.0f && factors[m][1] == 1.0f)) continue;
    }
    DOVETAIL_UNROLL
    for (int half = 0; half < 2; ++half) {
      if (half >= halves) break;
      DOVETAIL_UNROLL
      for (int n = 0; n < S::kHeadSize / 8; ++n) {
        state.sums[m][n][2 * half] *= factors[m][half];
        state.sums[m][n][2 * half + 1] *= factors[m][half];
      }
    }
  }
}

// sums += weights * V; two accumulators of 8 keys are one A fragment of 16.
template <class S>
DOVETAIL_DEVICE void multiply_values(WarpState<S>& state, const Scores<S>& weights,
                                     const std::byte* values) {
  using T = typename S::T;
  DOVETAIL_UNROLL
  for (int n = 0; n < S::kKeyTiles; n += 2) {
    uint32_t a[S::kRowTiles][4];
    DOVETAIL_UNROLL
    for (int m = 0; m < S::kRowTiles; ++m) {
      DOVETAIL_UNROLL
      for (int i = 0; i < 4; ++i) {
        const float(&pair)[4] = weights[m][n + i / 2];
        a[m][i] = ptx::pack2<T>(pair[i % 2 * 2], pair[i % 2 * 2 + 1]);
      }
    }
    DOVETAIL_UNROLL
    for (int step = 0; step < S::kSteps; ++step) {
      uint32_t b[2][2];
      value_fragments<S>(b, values, n * 8, step);
      DOVETAIL_UNROLL
      for (int m = 0; m < S::kRowTiles; ++m) {
        ptx::mma_m16n8k16<T>(state.sums[m][2 * step], a[m], b[0]);
        ptx::mma_m16n8k16<T>(state.sums[m][2 * step + 1], a[m], b[1]);
      }
    }
  }
}

}  // namespace dovetail::cuda
