// SPDX-License-Identifier: Apache-2.0
#include "tensorrt/operator.h"

#include <optional>

#include "ops/attention.h"
#include "ops/int4_gemm.h"
#include "ops/message.h"

namespace dovetail::tensorrt {
namespace {

// Which declared input stands at each node position.
template <class Map>
std::vector<int> declared_inputs(const Map& map, int declared) {
  std::vector<int> order(static_cast<std::size_t>(map.count));
  for (int i = 0; i < declared; ++i) {
    if (map.position[i] >= 0) {
      order[static_cast<std::size_t>(map.position[i])] = i;
    }
  }
  return order;
}

constexpr DataType kFloatTypes[] = {DataType::kFloat16, DataType::kBFloat16, DataType::kFloat32,
                                    DataType::kFloat8E4M3};

// Tries type pairs, fp16 first; ok when `served` takes one, else why no kernel does.
template <class Served>
Status served_with_types(std::optional<DataType> first, std::optional<DataType> second,
                         Served served) {
  Status reason;
  for (const DataType a : kFloatTypes) {
    for (const DataType b : kFloatTypes) {
      if (first.value_or(a) != a || second.value_or(b) != b) {
        continue;
      }
      const Status status = served(a, b);
      if (status.ok()) {
        return status;
      }
      if (reason.ok() || (reason.code() != StatusCode::kUnsupported &&
                          status.code() == StatusCode::kUnsupported)) {
        reason = status;  // a pair that the attributes exclude is no reason
      }
    }
  }
  return reason.ok() ? unsupported("dovetail: no kernel for these types") : reason;
}

class AttentionCall final : public Call {
 public:
  AttentionCall(CudaAttentionPlan plan, AttentionMode mode, AttentionInputMap map)
      : plan_(std::move(plan)), mode_(mode), map_(map) {}

  std::size_t workspace_bytes() const override { return plan_.workspace_bytes(); }

  Status run(const void* const* inputs, void* const* outputs, void* workspace,
             void* stream) const override {
    AttentionBuffers buffers = attention_buffers(map_, inputs, outputs, workspace);
    // An engine binds something also where the call's mode has nothing to read.
    if (mode_ == AttentionMode::kPrefill) {
      buffers.kv_start_index = nullptr;
    }
    if (mode_ != AttentionMode::kTreeDecode) {
      buffers.attention_mask = nullptr;
      buffers.attention_pos_id = nullptr;
    }
    return plan_.run(buffers, stream);
  }

 private:
  CudaAttentionPlan plan_;
  AttentionMode mode_;
  AttentionInputMap map_;
};

class AttentionOperator final : public Operator {
 public:
  explicit AttentionOperator(const AttentionAttributes& attributes)
      : attributes_(attributes),
        map_(attention_inputs(attributes)),
        order_(declared_inputs(map_, kAttentionInputs)) {}

  const OpSchema& schema() const override { return attention_schema(); }
  std::vector<Attribute> attributes() const override { return list_attributes(attributes_); }
  int input_count() const override { return map_.count; }
  const TensorSpec& input_spec(int position) const override {
    return attention_schema()
        .inputs[static_cast<std::size_t>(order_[static_cast<std::size_t>(position)])];
  }
  std::vector<OutputRule> output_rules(int) const override {
    return dovetail::output_rules(attributes_);
  }

  bool supports_type(int position, std::span<const DataType> before, DataType type) const override {
    if (position == map_.count) {
      return type == before[0];
    }
    if (position == map_.count + 1) {
      return type == before[1];
    }
    if ((input_spec(position).type_mask & type_bit(type)) == 0) {
      return false;
    }
    if (position == map_[AttentionInput::kQkv]) {
      return served_with(type, {}).ok();
    }
    if (position == map_[AttentionInput::kKvCache]) {
      return served_with(before[0], type).ok();
    }
    const bool norm = position == map_[AttentionInput::kQNormWeight] ||
                      position == map_[AttentionInput::kKNormWeight];
    return !norm || type == before[0];
  }

  // Whether some GPU serves these attributes with these types; no type: with any.
  Status served_with(std::optional<DataType> activation, std::optional<DataType> cache) const {
    return served_with_types(activation, cache, [&](DataType a, DataType c) {
      return dovetail::workspace_bound(AttentionProblem{.attributes = attributes_,
                                                        .mode = AttentionMode::kDecode,
                                                        .activation_type = a,
                                                        .cache_type = c,
                                                        .batch = 1,
                                                        .tokens = 1,
                                                        .capacity = 1,
                                                        .rope_rows = 1,
                                                        .rotary_width = 2})
          .status();
    });
  }

  Result<std::size_t> workspace_bound(std::vector<TensorDesc> largest) const override {
    settle_profile_bounds(attributes_, largest);
    const Result<AttentionProblem> problem = describe_attention(attributes_, largest);
    return problem.ok() ? dovetail::workspace_bound(*problem)
                        : Result<std::size_t>(problem.status());
  }

  Result<std::shared_ptr<const Call>> plan(std::span<const TensorDesc> inputs,
                                           const CudaDevice& device) const override {
    Result<AttentionProblem> problem = describe_attention(attributes_, inputs);
    if (!problem.ok()) {
      return problem.status();
    }
    Result<CudaAttentionPlan> planned = dovetail::plan(*problem, device);
    if (!planned.ok()) {
      return planned.status();
    }
    return std::shared_ptr<const Call>(
        std::make_shared<AttentionCall>(*std::move(planned), problem->mode, map_));
  }

 private:
  AttentionAttributes attributes_;
  AttentionInputMap map_;
  std::vector<int> order_;
};

class Int4GemmCall final : public Call {
 public:
  Int4GemmCall(CudaInt4GemmPlan plan, Int4GemmInputMap map) : plan_(std::move(plan)), map_(map) {}

  std::size_t workspace_bytes() const override { return plan_.workspace_bytes(); }

  Status run(const void* const* inputs, void* const* outputs, void* workspace,
             void* stream) const override {
    return plan_.run(int4_gemm_buffers(map_, inputs, outputs, workspace), stream);
  }

 private:
  CudaInt4GemmPlan plan_;
  Int4GemmInputMap map_;
};

class Int4GemmOperator final : public Operator {
 public:
  explicit Int4GemmOperator(const Int4GemmAttributes& attributes)
      : attributes_(attributes),
        map_(int4_gemm_inputs(attributes)),
        order_(declared_inputs(map_, kInt4GemmInputs)) {}

  const OpSchema& schema() const override { return int4_gemm_schema(); }
  std::vector<Attribute> attributes() const override { return list_attributes(attributes_); }
  int input_count() const override { return map_.count; }
  const TensorSpec& input_spec(int position) const override {
    return int4_gemm_schema()
        .inputs[static_cast<std::size_t>(order_[static_cast<std::size_t>(position)])];
  }
  std::vector<OutputRule> output_rules(int activation_rank) const override {
    return dovetail::output_rules(attributes_, activation_rank);
  }

  bool supports_type(int position, std::span<const DataType> before, DataType type) const override {
    if (position == map_.count) {
      return type == before[0];
    }
    if ((input_spec(position).type_mask & type_bit(type)) == 0) {
      return false;
    }
    if (position == map_[Int4GemmInput::kActivations]) {
      return served_with(type, {}).ok();
    }
    if (position == map_[Int4GemmInput::kScales]) {
      return served_with(before[0], type).ok();
    }
    return position != map_[Int4GemmInput::kBias] || type == before[0];
  }

  Status served_with(std::optional<DataType> activation, std::optional<DataType> scale) const {
    return served_with_types(activation, scale, [&](DataType a, DataType s) {
      return dovetail::workspace_bound(
                 Int4GemmProblem{
                     .attributes = attributes_, .activation_type = a, .scale_type = s, .m = 1})
          .status();
    });
  }

  Result<std::size_t> workspace_bound(std::vector<TensorDesc> largest) const override {
    const Result<Int4GemmProblem> problem = describe_int4_gemm(attributes_, largest);
    return problem.ok() ? dovetail::workspace_bound(*problem)
                        : Result<std::size_t>(problem.status());
  }

  Result<std::shared_ptr<const Call>> plan(std::span<const TensorDesc> inputs,
                                           const CudaDevice& device) const override {
    Result<Int4GemmProblem> problem = describe_int4_gemm(attributes_, inputs);
    if (!problem.ok()) {
      return problem.status();
    }
    Result<CudaInt4GemmPlan> planned = dovetail::plan(*problem, device);
    if (!planned.ok()) {
      return planned.status();
    }
    return std::shared_ptr<const Call>(std::make_shared<Int4GemmCall>(*std::move(planned), map_));
  }

 private:
  Int4GemmAttributes attributes_;
  Int4GemmInputMap map_;
  std::vector<int> order_;
};

template <class Op, class Attributes>
Result<std::shared_ptr<const Operator>> bind(const Result<Attributes>& parsed) {
  if (!parsed.ok()) {
    return parsed.status();
  }
  auto op = std::make_shared<const Op>(*parsed);
  DOVETAIL_RETURN_IF_ERROR(op->served_with({}, {}));
  return std::shared_ptr<const Operator>(std::move(op));
}

}  // namespace

Result<std::shared_ptr<const Operator>> make_operator(const OpSchema& schema,
                                                      std::span<const Attribute> attributes) {
  if (&schema == &attention_schema()) {
    return bind<AttentionOperator>(parse_attention_attributes(attributes));
  }
  if (&schema == &int4_gemm_schema()) {
    return bind<Int4GemmOperator>(parse_int4_gemm_attributes(attributes));
  }
  return internal_error("dovetail: no plugin for operator ", schema.name);
}

}  // namespace dovetail::tensorrt
