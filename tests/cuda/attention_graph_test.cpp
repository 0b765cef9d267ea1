// SPDX-License-Identifier: Apache-2.0
// Attention captured in a CUDA graph. Needs a GPU.
#include "cuda/attention_on_device.h"

namespace dovetail::test_support {
namespace {

TEST(AttentionGraph, IsCapturedOnceAndReplayedWithOtherLengths) {
  AttentionCase c{.name = "graph",
                  .mode = AttentionMode::kDecode,
                  .batch = 2,
                  .capacity = 3000,
                  .histories = {2999, 0}};
  const AttentionData first = make_attention_data(c);
  const auto schedule = cuda::schedule_attention(first.problem, device(132, 99, 90));
  ASSERT_TRUE(schedule.ok());
  ASSERT_TRUE(cuda::prepare_attention(*schedule).ok());
  DeviceCall on_device(c, first, schedule->workspace.bytes);
  DeviceBuffer<std::byte> output(first.output_bytes());
  on_device.call.output = output.data();
  cudaStream_t stream;
  cudaGraph_t graph;
  cudaGraphExec_t replay;
  require(cudaStreamCreate(&stream));
  require(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal));
  EXPECT_TRUE(cuda::run_attention(*schedule, on_device.call, stream).ok());
  require(cudaStreamEndCapture(stream, &graph));
  require(cudaGraphInstantiate(&replay, graph, 0));
  for (const auto& histories : {std::vector<std::int64_t>{2999, 0}, {3, 1700}, {640, 2048}}) {
    c.histories = histories;
    const AttentionData data = make_attention_data(c);
    const auto upload = [](const auto& to, const auto& from) {
      require(cudaMemcpy(to.data(), from.data(), from.size() * sizeof(from[0]), cudaMemcpyDefault));
    };
    upload(on_device.qkv, data.qkv);
    upload(on_device.cache, data.cache);
    upload(on_device.rope, data.rope);
    upload(on_device.context_lengths, data.context_lengths);
    upload(on_device.start_index, data.start_index);
    require(cudaGraphLaunch(replay, stream));
    require(cudaStreamSynchronize(stream));
    const Bytes cache = on_device.cache.read();
    EXPECT_EQ(check_cache(c, data, cache), "");
    EXPECT_EQ(check_output(c, data, cache, output.read().data()), "");
  }
  require(cudaGraphExecDestroy(replay));
  require(cudaGraphDestroy(graph));
  require(cudaStreamDestroy(stream));
}

}  // namespace
}  // namespace dovetail::test_support
