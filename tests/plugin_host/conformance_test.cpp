// SPDX-License-Identifier: Apache-2.0
// The conformance cases through the plugins, from field collection to enqueue, with guard zones
// around every buffer and a workspace of exactly the size that was asked for when the node was
// built. Attention runs twice: KV cache aliased (one buffer), and with past and present apart.
#include <gtest/gtest.h>

#include <cstring>

#include "conformance/attention_judge.h"
#include "conformance/int4_gemm_instance.h"
#include "plugin_host/cuda_reference.h"
#include "plugin_host/nodes.h"
#include "support/guarded_buffer.h"

namespace dovetail::plugin_host {
namespace {

using test_support::AttentionCase;
using test_support::AttentionData;
using test_support::GuardedBuffer;

std::unique_ptr<Library> open(const LibraryUnderTest& under_test) {
  Result<std::unique_ptr<Library>> library = Library::open(under_test.path, under_test.form);
  EXPECT_TRUE(library.ok()) << library.status().message();
  return library.ok() ? std::move(library).value() : nullptr;
}

// Types that the CUDA kernels have, and cases of up to so many multiply-adds: the double computes
// in fp64 on one thread.
std::vector<AttentionCase> affordable_cases() {
  constexpr double kMostWork = 5e6;
  std::vector<AttentionCase> cases;
  for (const AttentionCase& c : test_support::attention_cases()) {
    const bool types = c.activation != DataType::kFloat32 &&
                       (c.cache == c.activation || c.cache == DataType::kFloat8E4M3);
    const std::int64_t keys = c.mode == AttentionMode::kPrefill ? c.tokens : c.capacity;
    const auto work = static_cast<double>(c.batch * c.tokens * keys * c.q_heads * c.d);
    if (types && work <= kMostWork) {
      cases.push_back(c);
    }
  }
  return cases;
}

// The form of the logger does not matter to results.
std::vector<LibraryUnderTest> one_per_interface() {
  std::vector<LibraryUnderTest> libraries = libraries_under_test();
  std::erase_if(libraries, [](const auto& l) { return l.v3 && l.form == LoggerForm::kPlain; });
  return libraries;
}

class AttentionPlugin : public testing::TestWithParam<std::tuple<LibraryUnderTest, AttentionCase>> {
};

TEST_P(AttentionPlugin, ComputesTheCase) {
  const auto& [under_test, c] = GetParam();
  SCOPED_TRACE(c.reason);
  const std::unique_ptr<Library> library = open(under_test);
  ASSERT_NE(library, nullptr);
  const AttentionData data = make_attention_data(c);
  const auto engine = library->build(attention_node(data.problem));
  ASSERT_TRUE(engine.ok()) << engine.status().message();
  EXPECT_EQ((*engine)->aliased_inputs(),
            under_test.v3 ? (std::vector{-1, 1}) : (std::vector{-1, -1}));
  const auto context = (*engine)->make_context();
  ASSERT_TRUE(context.ok()) << context.status().message();
  const std::vector<TensorDesc> tensors = attention_tensors(data.problem);
  const Status shapes = (*context)->set_shapes(tensors);
  ASSERT_TRUE(shapes.ok()) << shapes.message();
  const std::vector<TensorDesc> outputs = (*context)->outputs();
  EXPECT_EQ(outputs[0].shape, attention_output_shape(data.problem));
  EXPECT_EQ(outputs[0].type, c.activation);
  EXPECT_EQ(outputs[1].shape, tensors[1].shape);
  EXPECT_EQ(outputs[1].type, c.cache);

  for (const bool aliased : {true, false}) {
    SCOPED_TRACE(aliased ? "aliased" : "two caches");
    AttentionCase expected = c;
    expected.separate_past = !aliased;
    GuardedBuffer cache(data.cache.size(), 1);
    GuardedBuffer output(data.output_bytes(), 2);
    GuardedBuffer workspace((*engine)->workspace_bytes(), 64);
    if (aliased) {
      std::copy(data.cache.begin(), data.cache.end(), cache.data());
    }
    const AttentionBuffers in = data.inputs();
    std::vector<const void*> inputs = {in.qkv, aliased ? cache.data() : data.cache.data(),
                                       in.context_lengths, in.rope_cos_sin, in.kv_start_index};
    if (data.problem.attributes.enable_tree_attention) {
      inputs.insert(inputs.end(), {in.attention_mask, in.attention_pos_id});
    }
    if (data.problem.attributes.enable_fp8_kv_cache) {
      inputs.push_back(in.kv_scales);
    }
    if (data.problem.attributes.enable_qk_norm) {
      inputs.insert(inputs.end(), {in.q_norm_weight, in.k_norm_weight});
    }
    void* const out[] = {output.data(), cache.data()};
    ReferenceStream stream;
    const Status run = (*context)->enqueue(inputs, out, workspace.data(), &stream);
    ASSERT_TRUE(run.ok()) << run.message();
    EXPECT_EQ(stream.launches, 1);
    EXPECT_TRUE(output.intact() && cache.intact() && workspace.intact());
    EXPECT_EQ(check_cache(expected, data, cache.bytes()), "");
    EXPECT_EQ(check_output(expected, data, cache.bytes(), output.data()), "");
  }
}

INSTANTIATE_TEST_SUITE_P(Cases, AttentionPlugin,
                         testing::Combine(testing::ValuesIn(one_per_interface()),
                                          testing::ValuesIn(affordable_cases())),
                         [](const auto& instance) {
                           return std::string(std::get<0>(instance.param).name) + "_" +
                                  std::get<1>(instance.param).name;
                         });

class Int4GemmPlugin
    : public testing::TestWithParam<std::tuple<LibraryUnderTest, conformance::Int4GemmCase>> {};

TEST_P(Int4GemmPlugin, ComputesTheCase) {
  const auto& [under_test, c] = GetParam();
  const std::unique_ptr<Library> library = open(under_test);
  ASSERT_NE(library, nullptr);
  conformance::Int4GemmInstance instance(c, WeightLayout::kEdgeLlmV1);
  const Int4GemmProblem& problem = instance.problem();
  const auto engine = library->build(int4_gemm_node(problem));
  ASSERT_TRUE(engine.ok()) << engine.status().message();
  const auto context = (*engine)->make_context();
  ASSERT_TRUE(context.ok()) << context.status().message();
  const Status shapes = (*context)->set_shapes(int4_gemm_tensors(problem));
  ASSERT_TRUE(shapes.ok()) << shapes.message();
  EXPECT_EQ((*context)->outputs()[0].shape, (Shape{1, problem.m, problem.attributes.gemm_n}));

  GuardedBuffer workspace((*engine)->workspace_bytes(), 64);
  const Int4GemmBuffers buffers = instance.buffers();
  std::vector<const void*> inputs = {buffers.activations, buffers.weights, buffers.scales};
  if (c.zero_points) {
    inputs.push_back(buffers.zero_points);
  }
  if (c.bias) {
    inputs.push_back(buffers.bias);
  }
  void* const out[] = {buffers.output};
  const Status run = (*context)->enqueue(inputs, out, workspace.data(), nullptr);
  ASSERT_TRUE(run.ok()) << run.message();
  EXPECT_EQ(instance.judge({.mode = ComputeMode::kExact}), "");
  EXPECT_EQ(instance.find_stray_write(), "");
  EXPECT_TRUE(workspace.intact());
}

INSTANTIATE_TEST_SUITE_P(Cases, Int4GemmPlugin,
                         testing::Combine(testing::ValuesIn(one_per_interface()),
                                          testing::ValuesIn(conformance::kInt4GemmCases)));

}  // namespace
}  // namespace dovetail::plugin_host
