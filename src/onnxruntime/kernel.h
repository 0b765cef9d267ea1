// SPDX-License-Identifier: Apache-2.0
// One node of a session: Kernel<Op, Backend> reads and checks it once, then every Run finds its
// plan by the shapes of the inputs and starts it. Op (attention.h, int4_gemm.h, swiglu.h)
// names the operator's functions, Backend (backend.h) the device and how work gets there.
//
// A Run allocates its workspace from the provider's arena and keeps nothing in the kernel, so any
// number of Runs may be under way at once.
#pragma once

#include <onnxruntime_c_api.h>

#include <array>
#include <memory>
#include <type_traits>
#include <utility>
#include <vector>

#include "onnxruntime/backend.h"
#include "onnxruntime/node.h"
#include "onnxruntime/plan_cache.h"
#include "onnxruntime/status.h"
#include "ops/output_rule.h"
#include "ops/schema.h"

namespace dovetail::ort {

template <class Problem, class Device>
using PlanOf = std::remove_cvref_t<decltype(*plan(std::declval<const Problem&>(),
                                                  std::declval<const Device&>()))>;

template <class Op, class Backend>
class Kernel {
 public:
  static constexpr std::size_t kMaxInputs = Op::kInputs;
  static constexpr std::size_t kOutputs = Op::kOutputs;

  static Result<std::unique_ptr<Kernel>> create(const OrtApi& api, const OrtKernelInfo* info,
                                                int threads) {
    const OpSchema& schema = Op::schema();
    Result<std::vector<Attribute>> given = read_attributes(api, info, schema);
    if (!given.ok()) {
      return given.status();
    }
    Result<typename Op::Attributes> attributes = Op::parse(*given);
    if (!attributes.ok()) {
      return attributes.status();
    }
    Result<std::vector<NodeInput>> inputs =
        read_inputs(api, info, schema, declared_inputs(Op::input_map(*attributes)));
    if (!inputs.ok()) {
      return inputs.status();
    }
    std::vector<TensorDesc> descs;
    for (const NodeInput& input : *inputs) {
      descs.push_back(input.desc);
    }
    DOVETAIL_RETURN_IF_ERROR(Op::check_inputs(*attributes, descs));
    DOVETAIL_RETURN_IF_ERROR(check_outputs(api, info, schema));
    Result<Allocator> allocator = Allocator::open(api, info);
    if (!allocator.ok()) {
      return allocator.status();
    }
    Result<Device> device = Backend::device(*allocator, threads);
    if (!device.ok()) {
      return device.status();
    }
    DOVETAIL_RETURN_IF_ERROR(plan(Op::smallest(*attributes, descs), *device).status());
    for (const auto& [desc, constant, data] : *inputs) {
      if (data != nullptr) {
        Backend::keep(data, static_cast<std::size_t>(desc.shape.count()) * size_of(desc.type));
      }
    }
    return std::unique_ptr<Kernel>(
        new Kernel(api, *attributes, *std::move(inputs), *device, *std::move(allocator)));
  }

  const OrtApi& api() const { return api_; }

  Status compute(OrtKernelContext* context) {
    std::array<const void*, kMaxInputs> data{};
    Shapes shapes;
    for (std::size_t i = 0; i < inputs_.size(); ++i) {
      DOVETAIL_RETURN_IF_ERROR(read_input(context, i, &data[i], &shapes[i]));
    }
    std::shared_ptr<const Entry> entry = plans_.find(shapes);
    if (entry == nullptr) {
      Result<std::shared_ptr<const Entry>> made = make_entry(shapes);
      if (!made.ok()) {
        return made.status();
      }
      entry = *made;
      plans_.insert(shapes, entry);
    }
    std::array<void*, kOutputs> results{};
    for (std::size_t i = 0; i < kOutputs; ++i) {
      DOVETAIL_RETURN_IF_ERROR(open_output(context, i, entry->outputs[i], &results[i]));
    }
    Allocator::Block workspace;
    DOVETAIL_RETURN_IF_ERROR(
        allocator_.allocate(context, entry->plan.workspace_bytes(), &workspace));
    Status status = Backend::run(api_, context, entry->plan,
                                 Op::buffers(map_, data.data(), results.data(), workspace.aligned));
    allocator_.release(workspace);
    return status;
  }

 private:
  using Device = typename Backend::Device;
  using Shapes = std::array<Shape, kMaxInputs>;

  struct Entry {
    PlanOf<typename Op::Problem, Device> plan;
    std::array<Shape, kOutputs> outputs;
  };

  Kernel(const OrtApi& api, const typename Op::Attributes& attributes,
         std::vector<NodeInput> inputs, const Device& device, Allocator allocator)
      : api_(api),
        attributes_(attributes),
        map_(Op::input_map(attributes)),
        inputs_(std::move(inputs)),
        device_(device),
        allocator_(std::move(allocator)) {}

  // The declarations of the inputs that a node with these attributes has, in their order.
  template <class Map>
  static std::vector<const TensorSpec*> declared_inputs(const Map& map) {
    std::vector<const TensorSpec*> declared(static_cast<std::size_t>(map.count));
    const OpSchema& schema = Op::schema();
    for (std::size_t i = 0; i < schema.inputs.size(); ++i) {
      if (map.position[i] >= 0) {
        declared[static_cast<std::size_t>(map.position[i])] = &schema.inputs[i];
      }
    }
    return declared;
  }

  // A constant's shape was checked with the node; asking again would cost about 0.1 us per input.
  Status read_input(const OrtKernelContext* context, std::size_t index, const void** data,
                    Shape* shape) const {
    const OrtValue* value = nullptr;
    DOVETAIL_RETURN_IF_ERROR(from_ort(api_, api_.KernelContext_GetInput(context, index, &value)));
    if (value == nullptr) {
      return invalid_argument(Op::schema().prefix, ": input ", index, " has no value");
    }
    void* address = nullptr;
    DOVETAIL_RETURN_IF_ERROR(
        from_ort(api_, api_.GetTensorMutableData(const_cast<OrtValue*>(value), &address)));
    *data = address;
    if (inputs_[index].constant) {
      *shape = inputs_[index].desc.shape;
      return Status::success();
    }
    OrtTensorTypeAndShapeInfo* info = nullptr;
    DOVETAIL_RETURN_IF_ERROR(from_ort(api_, api_.GetTensorTypeAndShape(value, &info)));
    std::array<std::int64_t, Shape::kMaxRank> dims{};
    std::size_t rank = 0;
    OrtStatus* failed = api_.GetDimensionsCount(info, &rank);
    if (failed == nullptr && rank <= dims.size()) {
      failed = api_.GetDimensions(info, dims.data(), rank);
    }
    api_.ReleaseTensorTypeAndShapeInfo(info);
    DOVETAIL_RETURN_IF_ERROR(from_ort(api_, failed));
    if (rank > dims.size()) {
      return invalid_argument(Op::schema().prefix, ": input ", index, " has rank ", rank,
                              ", expected at most ", dims.size());
    }
    *shape = Shape(std::span<const std::int64_t>(dims.data(), rank));
    return Status::success();
  }

  Result<std::shared_ptr<const Entry>> make_entry(const Shapes& shapes) const {
    std::vector<TensorDesc> descs;
    for (std::size_t i = 0; i < inputs_.size(); ++i) {
      descs.push_back({inputs_[i].desc.type, shapes[i]});
    }
    Result<typename Op::Problem> problem = Op::describe(attributes_, descs);
    if (!problem.ok()) {
      return problem.status();
    }
    auto made = plan(*problem, device_);
    if (!made.ok()) {
      return made.status();
    }
    auto entry = std::make_shared<Entry>(Entry{*std::move(made), {}});
    const std::vector<OutputRule> rules = Op::rules(attributes_, shapes[0].rank());
    for (std::size_t i = 0; i < kOutputs; ++i) {
      entry->outputs[i] = dovetail::apply(rules[i], descs).shape;
    }
    return std::shared_ptr<const Entry>(std::move(entry));
  }

  Status open_output(OrtKernelContext* context, std::size_t index, const Shape& shape,
                     void** data) const {
    std::array<std::int64_t, Shape::kMaxRank> dims{};
    for (int i = 0; i < shape.rank(); ++i) {
      dims[static_cast<std::size_t>(i)] = shape[i];
    }
    OrtValue* value = nullptr;
    DOVETAIL_RETURN_IF_ERROR(from_ort(
        api_, api_.KernelContext_GetOutput(context, index, dims.data(),
                                           static_cast<std::size_t>(shape.rank()), &value)));
    return from_ort(api_, api_.GetTensorMutableData(value, data));
  }

  const OrtApi& api_;
  const typename Op::Attributes attributes_;
  const typename Op::InputMap map_;
  const std::vector<NodeInput> inputs_;
  const Device device_;
  const Allocator allocator_;
  PlanCache<Shapes, Entry> plans_;
};

}  // namespace dovetail::ort
