// SPDX-License-Identifier: Apache-2.0
// Nodes of our operators for the plugin host: inputs in contract order with an optimisation
// profile, and the libraries under test.
#pragma once

#include <ostream>
#include <string>
#include <vector>

#include "dovetail/attention.h"
#include "dovetail/int4_gemm.h"
#include "ops/attention.h"
#include "ops/int4_gemm.h"
#include "plugin_host/plugin_host.h"

namespace dovetail::plugin_host {

struct LibraryUnderTest {
  const char* name;
  const char* path;
  LoggerForm form;
  bool v3;
};
inline std::ostream& operator<<(std::ostream& out, const LibraryUnderTest& library) {
  return out << library.name;
}

// Of this build: see CMakeLists.txt.
inline std::vector<LibraryUnderTest> libraries_under_test() {
#if DOVETAIL_TENSORRT_ABI == 8
  return {{"v2_abi8", DOVETAIL_PLUGIN_V2, LoggerForm::kPlain, false}};
#else
  return {{"v3_versioned_logger", DOVETAIL_PLUGIN_V3, LoggerForm::kVersioned, true},
          {"v3_plain_logger", DOVETAIL_PLUGIN_V3, LoggerForm::kPlain, true},
          {"v2", DOVETAIL_PLUGIN_V2, LoggerForm::kPlain, false}};
#endif
}

// The tensors of a call, in node order.
inline std::vector<TensorDesc> attention_tensors(const AttentionProblem& p) {
  const AttentionAttributes& a = p.attributes;
  const std::int64_t width = (a.num_q_heads + 2 * a.num_kv_heads) * std::int64_t{a.head_size};
  const std::int64_t start = p.mode == AttentionMode::kPrefill ? 0 : p.batch;
  std::vector<TensorDesc> tensors = {
      {p.activation_type, {p.batch, p.tokens, width}},
      {p.cache_type, {p.batch, 2, a.num_kv_heads, p.capacity, a.head_size}},
      {DataType::kInt32, {p.batch}},
      {DataType::kFloat32, {p.rope_batch, p.rope_rows, p.rotary_width}},
      {DataType::kInt32, {start}},
  };
  if (a.enable_tree_attention) {
    const bool tree = p.mode == AttentionMode::kTreeDecode;
    tensors.push_back(
        {DataType::kInt32, {p.batch, tree ? p.tokens : 1, tree ? (p.tokens + 31) / 32 : 1}});
    tensors.push_back({DataType::kInt32, {p.batch, tree ? p.tokens : 1}});
  }
  if (a.enable_fp8_kv_cache) {
    tensors.push_back({DataType::kFloat32, {2}});
  }
  if (a.enable_qk_norm) {
    tensors.push_back({p.activation_type, {a.head_size}});
    tensors.push_back({p.activation_type, {a.head_size}});
  }
  return tensors;
}

// A profile from one token of one lane, with empty lanes, up to the shapes of `largest`.
inline Node attention_node(const AttentionProblem& largest) {
  AttentionProblem smallest = largest;
  smallest.batch = largest.batch == 0 ? 0 : 1;
  smallest.tokens = largest.tokens == 0 ? 0 : 1;
  smallest.rope_batch = largest.rope_batch == largest.batch ? smallest.batch : 1;
  smallest.mode = AttentionMode::kPrefill;
  Node node{.op = "AttentionPlugin", .fields = list_attributes(largest.attributes)};
  const std::vector<TensorDesc> low = attention_tensors(smallest);
  const std::vector<TensorDesc> high = attention_tensors(largest);
  for (std::size_t i = 0; i < high.size(); ++i) {
    node.inputs.push_back({high[i].type, low[i].shape, high[i].shape, high[i].shape});
  }
  return node;
}

// Activations are [1, M, K].
inline std::vector<TensorDesc> int4_gemm_tensors(const Int4GemmProblem& p) {
  const Int4GemmAttributes& a = p.attributes;
  std::vector<TensorDesc> tensors = {{p.activation_type, {1, p.m, a.gemm_k}},
                                     {DataType::kInt8, weights_shape(a)},
                                     {p.scale_type, scales_shape(a)}};
  if (a.has_zero_points) {
    tensors.push_back({DataType::kInt8, scales_shape(a)});
  }
  if (a.has_bias) {
    tensors.push_back({p.activation_type, {a.gemm_n}});
  }
  return tensors;
}
inline Node int4_gemm_node(const Int4GemmProblem& largest) {
  Node node{.op = "Int4GroupwiseGemmPlugin", .fields = list_attributes(largest.attributes)};
  for (const TensorDesc& tensor : int4_gemm_tensors(largest)) {
    node.inputs.push_back({tensor.type, tensor.shape, tensor.shape, tensor.shape});
  }
  node.inputs[0].min = {1, largest.m == 0 ? 0 : 1, largest.attributes.gemm_k};
  return node;
}

}  // namespace dovetail::plugin_host
