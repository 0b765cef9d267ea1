// SPDX-License-Identifier: Apache-2.0
// One batch of lanes on ONNX Runtime's CUDA provider. Two bindings share the caches and the RoPE
// table, which lie in GPU memory of their own:
//
//   prompts     inputs and logits in host memory; ONNX Runtime copies them
//   generation  one token a lane. Its inputs are one block of GPU memory, filled by one copy, and
//               its logits another: with addresses and shapes for good, the step is a CUDA graph,
//               recorded by the first such step
//
// None of this memory is the arena's: the arena may hand out again what a recorded graph writes.
#include <atomic>
#include <cstring>
#include <vector>

#include "runtime/cuda_driver.h"
#include "runtime/graph_names.h"
#include "runtime/onnxruntime_context.h"
#include "runtime/onnxruntime_tensor.h"
#include "runtime/step_tensors.h"

namespace dovetail {
namespace {

// ONNX Runtime finds a recorded graph by a number of ours. Unique in the process, and so in each
// session; -1 is the one that records nothing.
std::string next_graph_id() {
  static std::atomic<int> last{0};
  return std::to_string(++last);
}

class GpuContext final : public EngineContext {
 public:
  GpuContext(const OnnxRuntimeSession& loaded, const Package& package, std::int64_t batch,
             const CudaDriver& driver)
      : loaded_(loaded),
        api_(*loaded.library.api),
        package_(package),
        batch_(batch),
        driver_(driver),
        prompts_(nullptr, api_.ReleaseIoBinding),
        generation_(nullptr, api_.ReleaseIoBinding),
        graph_options_(nullptr, api_.ReleaseRunOptions),
        tensors_(package.manifest, batch) {}

  Status open() {
    for (OrtOwner<OrtIoBinding>* binding : {&prompts_, &generation_}) {
      DOVETAIL_RETURN_IF_ERROR(
          to_status(api_, api_.CreateIoBinding(loaded_.session.get(), OrtFill(*binding)), "bind"));
    }
    DOVETAIL_RETURN_IF_ERROR(
        to_status(api_, api_.CreateRunOptions(OrtFill(graph_options_)), "start"));
    DOVETAIL_RETURN_IF_ERROR(
        to_status(api_,
                  api_.AddRunConfigEntry(graph_options_.get(), "gpu_graph_id",
                                         loaded_.cuda_graphs ? next_graph_id().c_str() : "-1"),
                  "start"));
    const Manifest& m = package_.manifest;
    const SafeTensor& rope = package_.rope_table;
    Result<void*> table = allocate(rope.data.size());
    if (!table.ok()) {
      return table.status();
    }
    DOVETAIL_RETURN_IF_ERROR(driver_.copy_in(*table, rope.data.data(), rope.data.size()));
    DOVETAIL_RETURN_IF_ERROR(bind_both(graph::kRope, rope.desc.type, rope.desc.shape, *table));
    const Shape shape = cache_shape(m, batch_);
    for (std::int64_t layer = 0; layer < m.model.layers; ++layer) {
      // Not cleared: slots behind a lane's tokens are never used.
      Result<void*> cache = allocate(static_cast<std::size_t>(shape.count()) * size_of(m.kv_type));
      if (!cache.ok()) {
        return cache.status();
      }
      DOVETAIL_RETURN_IF_ERROR(bind_both(graph::past(layer).c_str(), m.kv_type, shape, *cache,
                                         graph::present(layer).c_str()));
    }
    return Status::success();
  }

  std::int64_t batch() const override { return batch_; }

  Status run(const Step& s) override {
    const bool generation = s.tokens == 1 && s.logit_rows == 1 &&
                            s.kvcache_start_index != nullptr && s.attention_mask == nullptr;
    const std::lock_guard lock(loaded_.gpu_run);
    return generation ? run_generation(s) : run_prompts(s);
  }

 private:
  Status run_prompts(const Step& s) {
    const OrtMemoryInfo* host = loaded_.memory.get();
    for (const HostTensor& input : tensors_.inputs(s)) {
      DOVETAIL_RETURN_IF_ERROR(
          bind(prompts_, input.name, input.type, input.shape, host, input.data));
    }
    DOVETAIL_RETURN_IF_ERROR(bind(prompts_, nullptr, DataType::kFloat32, tensors_.logits_shape(s),
                                  host, s.logits, graph::kLogits));
    return run_binding(prompts_, loaded_.run_options.get());
  }

  Status run_generation(const Step& s) {
    const std::vector<HostTensor> inputs = tensors_.inputs(s);
    const Shape logits_shape = tensors_.logits_shape(s);
    if (inputs_ == nullptr) {
      DOVETAIL_RETURN_IF_ERROR(open_generation(inputs, logits_shape));
    }
    std::size_t offset = 0;
    for (const HostTensor& input : inputs) {
      std::memcpy(staged_.data() + offset, input.data, input.bytes());
      offset += padded(input);
    }
    DOVETAIL_RETURN_IF_ERROR(driver_.copy_in(inputs_, staged_.data(), staged_.size()));
    DOVETAIL_RETURN_IF_ERROR(run_binding(generation_, graph_options_.get()));
    return driver_.copy_out(s.logits, logits_,
                            static_cast<std::size_t>(logits_shape.count()) * sizeof(float));
  }

  // The shapes of a step of one token a lane are those of all of them.
  Status open_generation(const std::vector<HostTensor>& inputs, const Shape& logits_shape) {
    std::size_t bytes = 0;
    for (const HostTensor& input : inputs) {
      bytes += padded(input);
    }
    Result<void*> block = allocate(bytes);
    Result<void*> logits = allocate(static_cast<std::size_t>(logits_shape.count()) * sizeof(float));
    if (!block.ok() || !logits.ok()) {
      return block.ok() ? logits.status() : block.status();
    }
    std::size_t offset = 0;
    const OrtMemoryInfo* gpu = loaded_.gpu_memory.get();
    for (const HostTensor& input : inputs) {
      DOVETAIL_RETURN_IF_ERROR(bind(generation_, input.name, input.type, input.shape, gpu,
                                    static_cast<const std::byte*>(*block) + offset));
      offset += padded(input);
    }
    DOVETAIL_RETURN_IF_ERROR(
        bind(generation_, nullptr, DataType::kFloat32, logits_shape, gpu, *logits, graph::kLogits));
    staged_.resize(bytes);
    inputs_ = *block;
    logits_ = *logits;
    return Status::success();
  }

  static std::size_t padded(const HostTensor& input) {
    constexpr std::size_t kAlignment = 256;
    return (input.bytes() + kAlignment - 1) / kAlignment * kAlignment;
  }

  Status run_binding(const OrtOwner<OrtIoBinding>& binding, const OrtRunOptions* options) {
    return to_status(api_, api_.RunWithBinding(loaded_.session.get(), options, binding.get()),
                     "run the model");
  }

  Result<void*> allocate(std::size_t bytes) {
    Result<CudaDriver::Block> block = driver_.allocate(bytes);
    if (!block.ok()) {
      return block.status();
    }
    memory_.push_back(std::move(*block));
    return memory_.back().get();
  }

  // As an input, an output or both; null: not.
  Status bind(const OrtOwner<OrtIoBinding>& binding, const char* input, DataType type,
              const Shape& shape, const OrtMemoryInfo* memory, const void* data,
              const char* output = nullptr) {
    Result<OrtOwner<OrtValue>> value = tensor_over(api_, memory, type, shape, data);
    if (!value.ok()) {
      return value.status();
    }
    if (input != nullptr) {
      DOVETAIL_RETURN_IF_ERROR(
          to_status(api_, api_.BindInput(binding.get(), input, value->get()), input));
    }
    return output == nullptr
               ? Status::success()
               : to_status(api_, api_.BindOutput(binding.get(), output, value->get()), output);
  }

  Status bind_both(const char* input, DataType type, const Shape& shape, const void* data,
                   const char* output = nullptr) {
    const OrtMemoryInfo* gpu = loaded_.gpu_memory.get();
    DOVETAIL_RETURN_IF_ERROR(bind(prompts_, input, type, shape, gpu, data, output));
    return bind(generation_, input, type, shape, gpu, data, output);
  }

  const OnnxRuntimeSession& loaded_;
  const OrtApi& api_;
  const Package& package_;
  const std::int64_t batch_;
  const CudaDriver& driver_;
  std::vector<CudaDriver::Block> memory_;  // RoPE table, caches, then those of generation
  void* inputs_ = nullptr;                 // of generation, each on a multiple of 256 bytes
  void* logits_ = nullptr;                 // of generation, [B, 1, V]
  std::vector<std::byte> staged_;          // what goes into inputs_
  OrtOwner<OrtIoBinding> prompts_, generation_;
  OrtOwner<OrtRunOptions> graph_options_;
  const StepTensors tensors_;
};

}  // namespace

Result<std::unique_ptr<EngineContext>> make_onnxruntime_gpu_context(
    const OnnxRuntimeSession& session, const Package& package, std::int64_t batch) {
  Result<const CudaDriver*> driver = CudaDriver::open();
  if (!driver.ok()) {
    return driver.status();
  }
  auto context = std::make_unique<GpuContext>(session, package, batch, **driver);
  DOVETAIL_RETURN_IF_ERROR(context->open());
  return std::unique_ptr<EngineContext>(std::move(context));
}

}  // namespace dovetail
