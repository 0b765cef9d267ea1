// SPDX-License-Identifier: Apache-2.0
// AttentionPlugin as an operator: declaration, attributes, shape rules, cost. No device, no engine.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "dovetail/attention.h"
#include "ops/schema.h"

namespace dovetail {

const OpSchema& attention_schema();

Result<AttentionAttributes> parse_attention_attributes(std::span<const Attribute> given);
std::vector<Attribute> list_attributes(const AttentionAttributes& attributes);

// Declared inputs, in contract order (the order of attention_schema().inputs).
enum class AttentionInput : int {
  kQkv,
  kKvCache,
  kContextLengths,
  kRopeCosSin,
  kKvStartIndex,
  kAttentionMask,
  kAttentionPosId,
  kKvScales,
  kQNormWeight,
  kKNormWeight,
};
inline constexpr int kAttentionInputs = 10;

// Where each declared input stands among the inputs of a node with these attributes; -1: absent.
struct AttentionInputMap {
  int position[kAttentionInputs];
  int count;

  int operator[](AttentionInput input) const { return position[static_cast<int>(input)]; }
};
AttentionInputMap attention_inputs(const AttentionAttributes& attributes);
// The tensors of a node's call from its inputs and outputs; an absent input is null. The past is
// read from its input: in place when that is the output's buffer, else the plan copies it.
AttentionBuffers attention_buffers(const AttentionInputMap& map, const void* const* inputs,
                                   void* const* outputs, void* workspace);

// For shapes that are bounds of an optimisation profile, not a call's: sets the dimensions that
// other inputs determine (mask words: profiles may reserve too many) to what the bounds imply.
void settle_profile_bounds(const AttentionAttributes& attributes, std::span<TensorDesc> inputs);

// Attribute checks that need no tensor; adapters call it when the node is created.
Status validate(const AttentionAttributes& attributes);

// The checks of describe_attention that need no complete shapes: number, types, ranks, and those
// dimensions that are known (see may_equal). Adapters call it when the node is created.
Status check_attention_inputs(const AttentionAttributes& attributes,
                              std::span<const TensorDesc> inputs);

// The score factor: attention_scale, or 1 / sqrt(D).
float softmax_scale(const AttentionAttributes& attributes);

// Output shapes: [B, S, Hq, D].
Shape attention_output_shape(const AttentionProblem& problem);

// What a call costs when every lane holds `history` tokens and brings all S: 2 flops per
// multiply-add, bytes of QKV, output and the K/V rows read and written once.
struct Cost {
  double flops;
  double bytes;
};
Cost attention_cost(const AttentionProblem& problem, std::int64_t history);

}  // namespace dovetail
