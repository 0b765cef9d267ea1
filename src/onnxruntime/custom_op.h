// SPDX-License-Identifier: Apache-2.0
// An operator on one execution provider: ONNX Runtime's callback table, from the declaration.
//
// Every tensor is declared optional and of an open type: ONNX Runtime then passes each node on to
// us, and a wrong type or a missing tensor is refused with our message instead of "no kernel
// matches". The types of the outputs come from shape inference; Kernel::create insists on what the
// operator's declaration says.
#pragma once

#include <onnxruntime_c_api.h>

#include <utility>

#include "onnxruntime/kernel.h"
#include "onnxruntime/shape_inference.h"
#include "onnxruntime/status.h"

namespace dovetail::ort {

struct CustomOp : OrtCustomOp {
  const OpSchema* schema;
  const OrtApi* api;
  int threads;  // of the session's intra-op pool, as far as we know
};

namespace callback {

inline const CustomOp& self(const OrtCustomOp* op) {
  return *static_cast<const CustomOp*>(op);
}

inline OrtCustomOpInputOutputCharacteristic optional(const OrtCustomOp*, std::size_t) {
  return INPUT_OUTPUT_OPTIONAL;
}

template <class Op, class Backend>
OrtStatus* create_kernel(const OrtCustomOp* op, const OrtApi* api, const OrtKernelInfo* info,
                         void** kernel) {
  return guarded(*api, [&] {
    auto made = Kernel<Op, Backend>::create(*api, info, self(op).threads);
    if (!made.ok()) {
      const Status& why = made.status();
      return Status(why.code(), concat("node \"", node_name(*api, info), "\": ", why.message()));
    }
    *kernel = made->release();
    return Status::success();
  });
}

template <class Op, class Backend>
OrtStatus* compute(void* kernel, OrtKernelContext* context) {
  auto& node = *static_cast<Kernel<Op, Backend>*>(kernel);
  return guarded(node.api(), [&] { return node.compute(context); });
}

// Attributes that do not parse are taken for none: see shape_inference.h.
template <class Op>
std::vector<OutputRule> infer_rules(std::span<const Attribute> given, int activation_rank) {
  const Result<typename Op::Attributes> attributes = Op::parse(given);
  return Op::rules(attributes.ok() ? *attributes : typename Op::Attributes{}, activation_rank);
}

template <class Op>
OrtStatus* infer_output_shapes(const OrtCustomOp* op, OrtShapeInferContext* context) {
  return guarded(*self(op).api, [&] {
    return infer_shapes(*self(op).api, context, *self(op).schema, &infer_rules<Op>);
  });
}

}  // namespace callback

template <class Op, class Backend>
CustomOp make_custom_op(const OrtApi& api, int threads) {
  CustomOp
      op{};  // callbacks that are not set below stay null, which ONNX Runtime takes as "not there"
  op.version = kApiVersion;
  op.schema = &Op::schema();
  op.api = &api;
  op.threads = threads;
  op.GetName = [](const OrtCustomOp* self) { return callback::self(self).schema->name; };
  op.GetExecutionProviderType = [](const OrtCustomOp*) { return Backend::kProvider; };
  op.GetInputTypeCount = [](const OrtCustomOp* self) {
    return callback::self(self).schema->inputs.size();
  };
  op.GetOutputTypeCount = [](const OrtCustomOp* self) {
    return callback::self(self).schema->outputs.size();
  };
  op.GetInputType = [](const OrtCustomOp*, std::size_t) {
    return ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED;
  };
  op.GetOutputType = op.GetInputType;
  op.GetInputCharacteristic = callback::optional;
  op.GetOutputCharacteristic = callback::optional;
  op.GetInputMemoryType = [](const OrtCustomOp*, std::size_t) { return OrtMemTypeDefault; };
  op.CreateKernelV2 = callback::create_kernel<Op, Backend>;
  op.KernelComputeV2 = callback::compute<Op, Backend>;
  op.KernelDestroy = [](void* kernel) { delete static_cast<Kernel<Op, Backend>*>(kernel); };
  op.InferOutputShapeFn = callback::infer_output_shapes<Op>;
  return op;
}

}  // namespace dovetail::ort
