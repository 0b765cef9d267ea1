// SPDX-License-Identifier: Apache-2.0
// The attention operator in fp64, straight from the contract: every backend is judged by it. Slow
// and plain on purpose. Where the contract leaves room, this is what Dovetail means by it:
//
//   padding   Tokens behind a lane's own length, and tree tokens at position -1, are padding: their
//             output rows are zero, they are never written to the cache, and nobody sees them
//             (whatever the mask says), so what their QKV rows and cache slots hold cannot matter.
//   storage   K and V pass through the cache type before anybody attends to them, in every mode, so
//             that whole and chunked prefill agree. For FP8 the guide's normal prefill attends to
//             the call's unquantised K and V instead; its chunked prefill and decode do as we do.
//   window    Counted in positions: a token at position p sees positions > p - window. History slot
//             s has position s; tree token j has position attention_pos_id[j].
//   no key    A token that sees nothing (mask 0, no history in its window) has output zero.
//   Q/K norm  x / sqrt(mean(x^2) + eps) * weight per head, before RoPE.
//   FP8       stored = E4M3(x * (1 / scale)), saturating; read back as stored * scale.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "dovetail/attention.h"

namespace dovetail {

// kStorage rounds Q and the probabilities to the activation type and accumulates in fp32: the same
// math in storage precision, whose error is the yardstick for a backend's error.
enum class ReferencePrecision { kExact, kStorage };

// Step 1: writes K and V of the new tokens into buffers.kv_cache (after copying a separate past).
Status write_cache_reference(const AttentionProblem& problem, const AttentionBuffers& buffers);

// Step 2, for one token: attends over buffers.kv_cache as it stands. `output` holds [Hq, D];
// `magnitude`, if given, gets the sum of |terms| of each element.
void attend_reference(const AttentionProblem& problem, const AttentionBuffers& buffers,
                      std::int64_t lane, std::int64_t token, ReferencePrecision precision,
                      std::span<double> output, std::span<double> magnitude = {});

// Both steps, all tokens, the output rounded to the activation type in buffers.output.
Status attention_reference(const AttentionProblem& problem, const AttentionBuffers& buffers);

}  // namespace dovetail
