// SPDX-License-Identifier: Apache-2.0
// Symbolic shapes as an engine has them: an output shape is an expression over the dimensions of
// the inputs, which the builder evaluates at profile bounds and the runtime at actual shapes.
#pragma once

#include <algorithm>
#include <memory>
#include <span>
#include <vector>

#include "dovetail/tensor.h"
#include "tensorrt/abi/plugin_interface.h"

namespace dovetail::plugin_host {

using DimValue = decltype(nvinfer1::Dims::d[0] + 0);

// One node of an expression: a constant, a dimension of an input, or an operation on two others.
class Expression final : public nvinfer1::apiv::VDimensionExpr, public nvinfer1::IDimensionExpr {
 public:
  static constexpr int kConstant = -1;
  static constexpr int kOperation = -2;

  Expression(int kind, DimValue value) : kind_(kind), value_(value) { mImpl = this; }
  Expression(nvinfer1::DimensionOperation op, const Expression* a, const Expression* b)
      : kind_(kOperation), value_(0), op_(op), a_(a), b_(b) {
    mImpl = this;
  }

  bool isConstant() const override { return kind_ == kConstant; }
  nvinfer1::DimValue getConstantValue() const override {
    return static_cast<nvinfer1::DimValue>(value_);
  }
  bool isSizeTensor() const override { return false; }

  std::int64_t evaluate(std::span<const TensorDesc> inputs) const {
    if (kind_ == kConstant) {
      return value_;
    }
    if (kind_ != kOperation) {
      return inputs[static_cast<std::size_t>(kind_)].shape[static_cast<int>(value_)];
    }
    const std::int64_t a = a_->evaluate(inputs);
    const std::int64_t b = b_->evaluate(inputs);
    using Op = nvinfer1::DimensionOperation;
    switch (op_) {
      case Op::kSUM:
        return a + b;
      case Op::kPROD:
        return a * b;
      case Op::kMAX:
        return std::max(a, b);
      case Op::kMIN:
        return std::min(a, b);
      case Op::kSUB:
        return a - b;
      case Op::kEQUAL:
        return a == b;
      case Op::kLESS:
        return a < b;
      case Op::kFLOOR_DIV:
        return a / b;
      case Op::kCEIL_DIV:
        return (a + b - 1) / b;
    }
    return -1;
  }

 private:
  int kind_;        // input index, kConstant or kOperation
  DimValue value_;  // the constant, or the dimension of the input
  nvinfer1::DimensionOperation op_ = nvinfer1::DimensionOperation::kSUM;
  const Expression* a_ = nullptr;
  const Expression* b_ = nullptr;
};

// Owns the expressions of one node.
class ExpressionBuilder final : public nvinfer1::apiv::VExprBuilder, public nvinfer1::IExprBuilder {
 public:
  ExpressionBuilder() { mImpl = this; }

  const nvinfer1::IDimensionExpr* constant(nvinfer1::DimValue value) override {
    return add(Expression::kConstant, value);
  }
  const nvinfer1::IDimensionExpr* operation(nvinfer1::DimensionOperation op,
                                            const nvinfer1::IDimensionExpr& a,
                                            const nvinfer1::IDimensionExpr& b) override {
    return add(op, static_cast<const Expression*>(&a), static_cast<const Expression*>(&b));
  }
  const nvinfer1::IDimensionExpr* declareSizeTensor(std::int32_t, const nvinfer1::IDimensionExpr&,
                                                    const nvinfer1::IDimensionExpr&) override {
    return nullptr;  // no operator of ours has data-dependent shapes
  }

  // A fixed dimension where the profile leaves no choice, a symbol elsewhere.
  nvinfer1::DimsExprs input(int index, const Shape& min, const Shape& max) {
    nvinfer1::DimsExprs shape{};
    shape.nbDims = max.rank();
    for (int d = 0; d < max.rank(); ++d) {
      shape.d[d] =
          min[d] == max[d] ? constant(static_cast<nvinfer1::DimValue>(max[d])) : add(index, d);
    }
    return shape;
  }

 private:
  template <class... Args>
  const nvinfer1::IDimensionExpr* add(Args... args) {
    all_.push_back(std::make_unique<Expression>(args...));
    return all_.back().get();
  }
  std::vector<std::unique_ptr<Expression>> all_;
};

inline Shape evaluate(const nvinfer1::DimsExprs& shape, std::span<const TensorDesc> inputs) {
  std::vector<std::int64_t> dims;
  for (int d = 0; d < shape.nbDims; ++d) {
    dims.push_back(static_cast<const Expression*>(shape.d[d])->evaluate(inputs));
  }
  return Shape(dims);
}

// TensorRT's names for our types and shapes.
inline nvinfer1::DataType engine_type(DataType type) {
  switch (type) {
    case DataType::kFloat32:
      return nvinfer1::DataType::kFLOAT;
    case DataType::kFloat16:
      return nvinfer1::DataType::kHALF;
    case DataType::kBFloat16:
      return nvinfer1::DataType::kBF16;
    case DataType::kFloat8E4M3:
      return nvinfer1::DataType::kFP8;
    case DataType::kInt8:
      return nvinfer1::DataType::kINT8;
    case DataType::kInt32:
      return nvinfer1::DataType::kINT32;
    case DataType::kInt64:
      return nvinfer1::DataType::kINT64;
  }
  return nvinfer1::DataType::kFLOAT;
}
inline DataType our_type(nvinfer1::DataType type) {
  for (const DataType ours : {DataType::kFloat32, DataType::kFloat16, DataType::kBFloat16,
                              DataType::kFloat8E4M3, DataType::kInt8, DataType::kInt32}) {
    if (engine_type(ours) == type) {
      return ours;
    }
  }
  return DataType::kInt64;
}
inline nvinfer1::Dims engine_dims(const Shape& shape) {
  nvinfer1::Dims dims{};
  dims.nbDims = shape.rank();
  for (int d = 0; d < shape.rank(); ++d) {
    dims.d[d] = static_cast<nvinfer1::DimValue>(shape[d]);
  }
  return dims;
}
inline nvinfer1::PluginTensorDesc engine_desc(const TensorDesc& tensor) {
  return {engine_dims(tensor.shape), engine_type(tensor.type), nvinfer1::TensorFormat::kLINEAR,
          1.0f};
}

}  // namespace dovetail::plugin_host
