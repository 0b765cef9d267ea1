// SPDX-License-Identifier: Apache-2.0
#include "runtime/onnxruntime_context.h"

#include <vector>

#include "runtime/graph_names.h"
#include "runtime/onnxruntime_tensor.h"
#include "runtime/step_tensors.h"
#include "runtime/zeroed_memory.h"

namespace dovetail {
namespace {

class Context final : public EngineContext {
 public:
  Context(const OnnxRuntimeSession& loaded, const Package& package, std::int64_t batch)
      : loaded_(loaded),
        api_(*loaded.library.api),
        package_(package),
        batch_(batch),
        binding_(nullptr, api_.ReleaseIoBinding),
        tensors_(package.manifest, batch) {}

  // The bindings that no step changes: caches and the RoPE table.
  Status bind_constants() {
    const Manifest& m = package_.manifest;
    DOVETAIL_RETURN_IF_ERROR(
        to_status(api_, api_.CreateIoBinding(loaded_.session.get(), OrtFill(binding_)), "bind"));
    const Shape shape = cache_shape(m, batch_);
    for (std::int64_t layer = 0; layer < m.model.layers; ++layer) {
      Result<ZeroedMemory> memory =
          ZeroedMemory::allocate(static_cast<std::size_t>(shape.count()) * size_of(m.kv_type));
      if (!memory.ok()) {
        return memory.status();
      }
      caches_.push_back(std::move(*memory));
      Result<OrtOwner<OrtValue>> value =
          tensor_over(api_, loaded_.memory.get(), m.kv_type, shape, caches_.back().data());
      if (!value.ok()) {
        return value.status();
      }
      const std::string past = graph::past(layer);
      const std::string present = graph::present(layer);
      DOVETAIL_RETURN_IF_ERROR(
          to_status(api_, api_.BindInput(binding_.get(), past.c_str(), value->get()), "bind"));
      DOVETAIL_RETURN_IF_ERROR(
          to_status(api_, api_.BindOutput(binding_.get(), present.c_str(), value->get()), "bind"));
    }
    const SafeTensor& rope = package_.rope_table;
    return bind_input(graph::kRope, rope.desc.type, rope.desc.shape, rope.data.data());
  }

  std::int64_t batch() const override { return batch_; }

  Status run(const Step& s) override {
    for (const HostTensor& input : tensors_.inputs(s)) {
      DOVETAIL_RETURN_IF_ERROR(bind_input(input.name, input.type, input.shape, input.data));
    }
    Result<OrtOwner<OrtValue>> logits = tensor_over(api_, loaded_.memory.get(), DataType::kFloat32,
                                                    tensors_.logits_shape(s), s.logits);
    if (!logits.ok()) {
      return logits.status();
    }
    DOVETAIL_RETURN_IF_ERROR(to_status(
        api_, api_.BindOutput(binding_.get(), graph::kLogits, logits->get()), "bind logits"));
    // A prefill's activations are large and the decode steps that follow do not need them.
    constexpr std::int64_t kLargeStep = 128;
    const OrtRunOptions* options = batch_ * s.tokens >= kLargeStep
                                       ? loaded_.shrinking_run_options.get()
                                       : loaded_.run_options.get();
    return to_status(api_, api_.RunWithBinding(loaded_.session.get(), options, binding_.get()),
                     "run the model");
  }

 private:
  Status bind_input(const char* name, DataType type, const Shape& shape, const void* data) {
    Result<OrtOwner<OrtValue>> value = tensor_over(api_, loaded_.memory.get(), type, shape, data);
    if (!value.ok()) {
      return value.status();
    }
    return to_status(api_, api_.BindInput(binding_.get(), name, value->get()), name);
  }

  const OnnxRuntimeSession& loaded_;
  const OrtApi& api_;
  const Package& package_;
  const std::int64_t batch_;
  std::vector<ZeroedMemory> caches_;  // per layer [B, 2, Hk, C, D]
  OrtOwner<OrtIoBinding> binding_;
  const StepTensors tensors_;
};

}  // namespace

Result<std::unique_ptr<EngineContext>> make_onnxruntime_context(const OnnxRuntimeSession& session,
                                                                const Package& package,
                                                                std::int64_t batch) {
  auto context = std::make_unique<Context>(session, package, batch);
  DOVETAIL_RETURN_IF_ERROR(context->bind_constants());
  return std::unique_ptr<EngineContext>(std::move(context));
}

}  // namespace dovetail
