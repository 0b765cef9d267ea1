// SPDX-License-Identifier: Apache-2.0
// The conformance cases through the plugins, from field collection to enqueue, with the real
// kernels: on the SIMT host model, which reports races, strays and reads of unwritten memory, or on
// a GPU (DOVETAIL_ON_GPU), there on several streams. Every buffer is exactly as large as the plugin
// said, the workspace as it said when the node was built. Attention runs twice: KV cache aliased
// (one buffer), and with past and present apart.
#include <gtest/gtest.h>

#include <array>
#include <memory>

#include "conformance/attention_judge.h"
#include "conformance/int4_gemm_instance.h"
#include "plugin_host/device.h"
#include "plugin_host/nodes.h"

namespace dovetail::plugin_host {
namespace {

using conformance::Int4GemmCase;
using conformance::Int4GemmInstance;
using test_support::AttentionCase;
using test_support::AttentionData;

struct Opened {
  explicit Opened(const LibraryUnderTest& under_test) : device(under_test.path) {
    Result<std::unique_ptr<Library>> opened = Library::open(under_test.path, under_test.form);
    EXPECT_TRUE(opened.ok()) << opened.status().message();
    library = opened.ok() ? std::move(opened).value() : nullptr;
  }
  Device device;
  std::unique_ptr<Library> library;
};

// One call of AttentionPlugin: its tensors on the device, in node order.
class AttentionCall {
 public:
  AttentionCall(const Device& device, const AttentionCase& c, bool aliased,
                std::size_t workspace_bytes)
      : case_(c), data_(make_attention_data(c)), workspace_(device, workspace_bytes) {
    case_.separate_past = !aliased;
    const AttentionAttributes& a = data_.problem.attributes;
    take(device, data_.qkv);
    take(device, data_.cache);
    take(device, data_.context_lengths);
    take(device, data_.rope);
    take(device, data_.start_index);
    if (a.enable_tree_attention) {
      take(device, data_.mask);
      take(device, data_.position_ids);
    }
    if (a.enable_fp8_kv_cache) {
      take(device, data_.kv_scales);
    }
    if (a.enable_qk_norm) {
      take(device, data_.q_norm);
      take(device, data_.k_norm);
    }
    output_ = std::make_unique<DeviceBuffer>(device, data_.output_bytes());
    if (!aliased) {
      present_ = std::make_unique<DeviceBuffer>(device, data_.cache.size());
    }
  }

  const AttentionProblem& problem() const { return data_.problem; }

  Status enqueue(Context& context, const Stream& stream) {
    std::vector<const void*> inputs;
    for (const auto& buffer : inputs_) {
      inputs.push_back(buffer->data());
    }
    void* const outputs[] = {output_->data(), cache().data()};
    return context.enqueue(inputs, outputs, workspace_.data(), stream.handle());
  }

  // "" or what is wrong.
  std::string judge() const {
    const Bytes written = cache().read();
    const std::string of_cache = check_cache(case_, data_, written);
    return of_cache.empty() ? check_output(case_, data_, written, output_->read().data())
                            : of_cache;
  }

 private:
  template <class T>
  void take(const Device& device, const std::vector<T>& values) {
    inputs_.push_back(std::make_unique<DeviceBuffer>(device, values));
  }
  const DeviceBuffer& cache() const { return present_ == nullptr ? *inputs_[1] : *present_; }

  AttentionCase case_;
  AttentionData data_;
  DeviceBuffer workspace_;
  std::vector<std::unique_ptr<DeviceBuffer>> inputs_;
  std::unique_ptr<DeviceBuffer> output_, present_;
};

using AttentionRun = std::pair<LibraryUnderTest, AttentionCase>;
using Int4GemmRun = std::pair<LibraryUnderTest, Int4GemmCase>;

// The form of the logger does not matter to results.
std::vector<LibraryUnderTest> one_per_interface() {
  std::vector<LibraryUnderTest> libraries = libraries_under_test();
  std::erase_if(libraries, [](const auto& l) { return l.v3 && l.form == LoggerForm::kPlain; });
  return libraries;
}

// On the model, cases of up to so many multiply-adds; the interfaces differ in the calls around a
// launch only, so the older ones get the small cases.
double most_work(const LibraryUnderTest& library, double v3, double v2) {
  return kOnGpu ? 1e18 : library.v3 ? v3 : v2;
}

// In the types that the CUDA kernels have.
std::vector<AttentionRun> attention_runs() {
  std::vector<AttentionRun> runs;
  for (const LibraryUnderTest& library : one_per_interface()) {
    for (const AttentionCase& c : test_support::attention_cases()) {
      const bool types = c.activation != DataType::kFloat32 &&
                         (c.cache == c.activation || c.cache == DataType::kFloat8E4M3);
      const std::int64_t keys = c.mode == AttentionMode::kPrefill ? c.tokens : c.capacity;
      const auto work = static_cast<double>(c.batch * c.tokens * keys * c.q_heads * c.d);
      if (types && work <= most_work(library, 1.6e7, 4e5)) {
        runs.emplace_back(library, c);
      }
    }
  }
  return runs;
}

std::vector<Int4GemmRun> int4_gemm_runs() {
  std::vector<Int4GemmRun> runs;
  for (const LibraryUnderTest& library : one_per_interface()) {
    for (const Int4GemmCase& c : conformance::kInt4GemmCases) {
      if (static_cast<double>(c.m * c.n * c.k) <= most_work(library, 1.6e7, 4e5)) {
        runs.emplace_back(library, c);
      }
    }
  }
  return runs;
}

class AttentionPlugin : public testing::TestWithParam<AttentionRun> {};

TEST_P(AttentionPlugin, ComputesTheCase) {
  const auto& [under_test, c] = GetParam();
  SCOPED_TRACE(c.reason);
  const Opened opened(under_test);
  ASSERT_NE(opened.library, nullptr);
  const AttentionProblem problem = make_attention_data(c).problem;
  const auto engine = opened.library->build(attention_node(problem));
  ASSERT_TRUE(engine.ok()) << engine.status().message();
  EXPECT_EQ((*engine)->aliased_inputs(),
            under_test.v3 ? (std::vector{-1, 1}) : (std::vector{-1, -1}));
  const auto context = (*engine)->make_context();
  ASSERT_TRUE(context.ok()) << context.status().message();
  const std::vector<TensorDesc> tensors = attention_tensors(problem);
  const Status shapes = (*context)->set_shapes(tensors);
  ASSERT_TRUE(shapes.ok()) << shapes.message();
  const std::vector<TensorDesc> outputs = (*context)->outputs();
  EXPECT_EQ(outputs[0].shape, attention_output_shape(problem));
  EXPECT_EQ(outputs[0].type, c.activation);
  EXPECT_EQ(outputs[1].shape, tensors[1].shape);
  EXPECT_EQ(outputs[1].type, c.cache);

  for (const bool aliased : {true, false}) {
    SCOPED_TRACE(aliased ? "aliased" : "two caches");
    AttentionCall call(opened.device, c, aliased, (*engine)->workspace_bytes());
    const Stream stream;
    const Status run = call.enqueue(**context, stream);
    ASSERT_TRUE(run.ok()) << run.message();
    EXPECT_EQ(call.judge(), "");
  }
}

INSTANTIATE_TEST_SUITE_P(Cases, AttentionPlugin, testing::ValuesIn(attention_runs()),
                         [](const auto& instance) {
                           return std::string(instance.param.first.name) + "_" +
                                  instance.param.second.name;
                         });

class Int4GemmPlugin : public testing::TestWithParam<Int4GemmRun> {};

TEST_P(Int4GemmPlugin, ComputesTheCase) {
  const auto& [under_test, c] = GetParam();
  const Opened opened(under_test);
  ASSERT_NE(opened.library, nullptr);
  Int4GemmInstance instance(c, WeightLayout::kEdgeLlmV1);
  const Int4GemmProblem& problem = instance.problem();
  const auto engine = opened.library->build(int4_gemm_node(problem));
  ASSERT_TRUE(engine.ok()) << engine.status().message();
  const auto context = (*engine)->make_context();
  ASSERT_TRUE(context.ok()) << context.status().message();
  const std::vector<TensorDesc> tensors = int4_gemm_tensors(problem);
  const Status shapes = (*context)->set_shapes(tensors);
  ASSERT_TRUE(shapes.ok()) << shapes.message();
  const TensorDesc result = (*context)->outputs()[0];
  EXPECT_EQ(result.shape, (Shape{1, problem.m, problem.attributes.width()}));

  const Int4GemmBuffers host = instance.buffers();
  std::vector<const void*> sources = {host.activations, host.weights, host.scales};
  if (c.zero_points) {
    sources.push_back(host.zero_points);
  }
  if (c.bias) {
    sources.push_back(host.bias);
  }
  const auto bytes_of = [](const TensorDesc& tensor) {
    return static_cast<std::size_t>(tensor.shape.count()) * size_of(tensor.type);
  };
  std::vector<std::unique_ptr<DeviceBuffer>> inputs;
  std::vector<const void*> pointers;
  for (std::size_t i = 0; i < sources.size(); ++i) {
    inputs.push_back(std::make_unique<DeviceBuffer>(
        opened.device, std::span(static_cast<const std::byte*>(sources[i]), bytes_of(tensors[i]))));
    pointers.push_back(inputs.back()->data());
  }
  const DeviceBuffer output(opened.device, bytes_of(result));
  const DeviceBuffer workspace(opened.device, (*engine)->workspace_bytes());
  void* const out[] = {output.data()};
  const Stream stream;
  const Status run = (*context)->enqueue(pointers, out, workspace.data(), stream.handle());
  ASSERT_TRUE(run.ok()) << run.message();
  conformance::Int4GemmPrecision precision{.mode = ComputeMode::kExact};
#if defined(DOVETAIL_ON_GPU)
  // wgmma, which an sm_90 takes from 17 rows on, multiplies weights rounded to the activations' type.
  if (problem.m > 16 && problem.scale_type == problem.activation_type) {
    precision.weight_type = problem.activation_type;
  }
#endif
  EXPECT_EQ(instance.judge(precision, output.read().data()), "");
}

INSTANTIATE_TEST_SUITE_P(Cases, Int4GemmPlugin, testing::ValuesIn(int4_gemm_runs()));

// Contexts of one engine, each with its own tensors, caches and stream; nobody waits in between.
class PluginStreams : public testing::TestWithParam<LibraryUnderTest> {};

TEST_P(PluginStreams, ContextsOfOneEngineRunSideBySide) {
  const Opened opened(GetParam());
  ASSERT_NE(opened.library, nullptr);
  AttentionCase c{
      .mode = AttentionMode::kDecode, .batch = 2, .q_heads = 4, .capacity = kOnGpu ? 4000 : 400};
  const auto engine = opened.library->build(attention_node(make_attention_data(c).problem));
  ASSERT_TRUE(engine.ok()) << engine.status().message();
  struct Lane {
    std::unique_ptr<Context> context;
    Stream stream;
    std::unique_ptr<AttentionCall> call;
  };
  std::array<Lane, 4> lanes;
  for (std::size_t i = 0; i < lanes.size(); ++i) {
    c.name = "stream_" + std::to_string(i);  // its seed
    auto context = (*engine)->make_context();
    ASSERT_TRUE(context.ok()) << context.status().message();
    lanes[i].context = std::move(*context);
    lanes[i].call = std::make_unique<AttentionCall>(opened.device, c, /*aliased=*/i % 2 == 0,
                                                    (*engine)->workspace_bytes());
    const Status shapes = lanes[i].context->set_shapes(attention_tensors(lanes[i].call->problem()));
    ASSERT_TRUE(shapes.ok()) << shapes.message();
  }
  opened.device.wait();
  for (int round = 0; round < (kOnGpu ? 50 : 1); ++round) {  // a repeated call changes nothing
    for (Lane& lane : lanes) {
      const Status run = lane.call->enqueue(*lane.context, lane.stream);
      ASSERT_TRUE(run.ok()) << run.message();
    }
  }
  for (const Lane& lane : lanes) {
    EXPECT_EQ(lane.call->judge(), "");
  }
}

INSTANTIATE_TEST_SUITE_P(Libraries, PluginStreams, testing::ValuesIn(one_per_interface()),
                         [](const auto& instance) { return std::string(instance.param.name); });

}  // namespace
}  // namespace dovetail::plugin_host
