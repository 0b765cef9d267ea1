// SPDX-License-Identifier: Apache-2.0
#include "runtime/tensorrt_context.h"

#include <algorithm>
#include <array>
#include <map>
#include <string>
#include <vector>

#include "ops/message.h"
#include "runtime/cuda_memory.h"
#include "runtime/graph_names.h"
#include "runtime/step_tensors.h"

namespace dovetail {
namespace {

nvinfer1::Dims dims_of(const Shape& shape) {
  nvinfer1::Dims dims{};
  dims.nbDims = shape.rank();
  for (int i = 0; i < shape.rank(); ++i) {
    dims.d[i] = shape[i];
  }
  return dims;
}

// GPU memory that grows to the largest size asked for.
struct Buffer {
  CudaMemory memory{};
  std::size_t bytes = 0;
};

class Context final : public EngineContext {
 public:
  Context(nvinfer1::ICudaEngine& engine, TensorRtLogger& logger, const Package& package,
          std::int64_t batch, CudaStream stream)
      : engine_(engine),
        logger_(logger),
        package_(package),
        batch_(batch),
        stream_(std::move(stream)),
        tensors_(package.manifest, batch) {}

  std::int64_t batch() const override { return batch_; }

  // Contexts, scratch memory, caches and the RoPE table: everything that no step changes.
  Status open() {
    std::int64_t scratch_bytes = 0;
    for (std::size_t profile = 0; profile < contexts_.size(); ++profile) {
      const auto index = static_cast<std::int32_t>(profile);
      contexts_[profile].reset(engine_.createExecutionContext(
          nvinfer1::ExecutionContextAllocationStrategy::kUSER_MANAGED));
      if (contexts_[profile] == nullptr ||
          !contexts_[profile]->setOptimizationProfileAsync(index, stream())) {
        return logger_.take(concat("use optimisation profile ", index));
      }
      scratch_bytes = std::max(scratch_bytes, engine_.getDeviceMemorySizeForProfileV2(index));
    }
    // The contexts never run at once, so one piece serves both.
    DOVETAIL_RETURN_IF_ERROR(reserve(scratch_, static_cast<std::size_t>(scratch_bytes)));
    const Manifest& m = package_.manifest;
    const Shape shape = cache_shape(m, batch_);
    const SafeTensor& rope = package_.rope_table;
    DOVETAIL_RETURN_IF_ERROR(reserve(rope_, rope.data.size()));
    DOVETAIL_RETURN_IF_ERROR(
        stream_.copy_in(rope_.memory.data(), rope.data.data(), rope.data.size()));
    for (auto& context : contexts_) {
      context->setDeviceMemoryV2(scratch_.memory.data(), scratch_bytes);
      DOVETAIL_RETURN_IF_ERROR(
          bind_input(*context, graph::kRope, rope.desc.shape, rope_.memory.data()));
    }
    for (std::int64_t layer = 0; layer < m.model.layers; ++layer) {
      Buffer cache;
      DOVETAIL_RETURN_IF_ERROR(
          reserve(cache, static_cast<std::size_t>(shape.count()) * size_of(m.kv_type)));
      for (auto& context : contexts_) {
        DOVETAIL_RETURN_IF_ERROR(
            bind_input(*context, graph::past(layer).c_str(), shape, cache.memory.data()));
        DOVETAIL_RETURN_IF_ERROR(
            bind(*context, graph::present(layer).c_str(), cache.memory.data()));
      }
      caches_.push_back(std::move(cache));
    }
    return stream_.wait();
  }

  Status run(const Step& s) override {
    nvinfer1::IExecutionContext& context = *contexts_[static_cast<std::size_t>(profile_of(s))];
    for (const HostTensor& input : tensors_.inputs(s)) {
      Buffer& buffer = inputs_[input.name];
      DOVETAIL_RETURN_IF_ERROR(reserve(buffer, std::max<std::size_t>(input.bytes(), 1)));
      if (input.bytes() > 0) {
        DOVETAIL_RETURN_IF_ERROR(stream_.copy_in(buffer.memory.data(), input.data, input.bytes()));
      }
      DOVETAIL_RETURN_IF_ERROR(bind_input(context, input.name, input.shape, buffer.memory.data()));
    }
    const std::size_t logits_bytes =
        static_cast<std::size_t>(tensors_.logits_shape(s).count()) * sizeof(float);
    DOVETAIL_RETURN_IF_ERROR(reserve(logits_, logits_bytes));
    DOVETAIL_RETURN_IF_ERROR(bind(context, graph::kLogits, logits_.memory.data()));
    if (!context.enqueueV3(stream())) {
      return logger_.take("run the engine");
    }
    DOVETAIL_RETURN_IF_ERROR(stream_.copy_out(s.logits, logits_.memory.data(), logits_bytes));
    return stream_.wait();
  }

 private:
  cudaStream_t stream() const { return static_cast<cudaStream_t>(stream_.handle()); }

  Status reserve(Buffer& buffer, std::size_t bytes) {
    if (bytes <= buffer.bytes) {
      return Status::success();
    }
    Result<CudaMemory> memory = CudaMemory::allocate(bytes);
    if (!memory.ok()) {
      return memory.status();
    }
    buffer = {std::move(*memory), bytes};
    return Status::success();
  }

  Status bind(nvinfer1::IExecutionContext& context, const char* name, void* data) {
    return context.setTensorAddress(name, data) ? Status::success()
                                                : logger_.take(concat("bind ", name));
  }

  Status bind_input(nvinfer1::IExecutionContext& context, const char* name, const Shape& shape,
                    void* data) {
    if (!context.setInputShape(name, dims_of(shape))) {
      return logger_.take(concat("take ", name, " of shape ", shape,
                                 " (was the engine built for fewer tokens or rows of logits?)"));
    }
    return bind(context, name, data);
  }

  nvinfer1::ICudaEngine& engine_;
  TensorRtLogger& logger_;
  const Package& package_;
  const std::int64_t batch_;
  const CudaStream stream_;
  const StepTensors tensors_;
  Buffer scratch_, rope_, logits_;
  std::vector<Buffer> caches_;  // per layer [B, 2, Hk, C, D]
  std::map<std::string, Buffer> inputs_;
  std::array<std::unique_ptr<nvinfer1::IExecutionContext>, kProfiles> contexts_;
};

}  // namespace

Result<std::unique_ptr<EngineContext>> make_tensorrt_context(nvinfer1::ICudaEngine& engine,
                                                             TensorRtLogger& logger,
                                                             const Package& package,
                                                             std::int64_t batch) {
  Result<CudaStream> stream = CudaStream::create();
  if (!stream.ok()) {
    return stream.status();
  }
  auto context = std::make_unique<Context>(engine, logger, package, batch, std::move(*stream));
  DOVETAIL_RETURN_IF_ERROR(context->open());
  return std::unique_ptr<EngineContext>(std::move(context));
}

}  // namespace dovetail
