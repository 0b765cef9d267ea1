// SPDX-License-Identifier: Apache-2.0
// Facts of every TensorRT from 8.6 on: structs, enums, shape expressions. Include the declaration
// before this header.
#pragma once

#include "tensorrt/abi_facts.h"

namespace dovetail::tensorrt_test {
namespace {

AbiFacts shared_facts() {
  AbiFacts facts;
  FACT_SIZE(facts, Dims)
  FACT_OFFSET(facts, Dims, nbDims)
  FACT_OFFSET(facts, Dims, d)
  FACT_SIZE(facts, PluginTensorDesc)
  FACT_OFFSET(facts, PluginTensorDesc, dims)
  FACT_OFFSET(facts, PluginTensorDesc, type)
  FACT_OFFSET(facts, PluginTensorDesc, format)
  FACT_OFFSET(facts, PluginTensorDesc, scale)
  FACT_OFFSET(facts, DynamicPluginTensorDesc, desc)
  FACT_OFFSET(facts, DynamicPluginTensorDesc, min)
  FACT_OFFSET(facts, DynamicPluginTensorDesc, max)
  FACT_SIZE(facts, PluginField)
  FACT_OFFSET(facts, PluginField, name)
  FACT_OFFSET(facts, PluginField, data)
  FACT_OFFSET(facts, PluginField, type)
  FACT_OFFSET(facts, PluginField, length)
  FACT_SIZE(facts, PluginFieldCollection)
  FACT_OFFSET(facts, PluginFieldCollection, nbFields)
  FACT_OFFSET(facts, PluginFieldCollection, fields)
  FACT_SIZE(facts, DimsExprs)
  FACT_OFFSET(facts, DimsExprs, nbDims)
  FACT_OFFSET(facts, DimsExprs, d)
  FACT_SIZE(facts, IDimensionExpr)
  FACT_SIZE(facts, IExprBuilder)

  FACT_VALUE(facts, DataType, kFLOAT)
  FACT_VALUE(facts, DataType, kHALF)
  FACT_VALUE(facts, DataType, kINT8)
  FACT_VALUE(facts, DataType, kINT32)
  FACT_VALUE(facts, DataType, kBOOL)
  FACT_VALUE(facts, DataType, kUINT8)
  FACT_VALUE(facts, DataType, kFP8)
  FACT_VALUE(facts, TensorFormat, kLINEAR)
  FACT_VALUE(facts, PluginFieldType, kFLOAT16)
  FACT_VALUE(facts, PluginFieldType, kFLOAT32)
  FACT_VALUE(facts, PluginFieldType, kFLOAT64)
  FACT_VALUE(facts, PluginFieldType, kINT8)
  FACT_VALUE(facts, PluginFieldType, kINT16)
  FACT_VALUE(facts, PluginFieldType, kINT32)
  FACT_VALUE(facts, PluginFieldType, kCHAR)
  FACT_VALUE(facts, PluginFieldType, kDIMS)
  FACT_VALUE(facts, PluginFieldType, kUNKNOWN)
  FACT_VALUE(facts, DimensionOperation, kSUM)
  FACT_VALUE(facts, DimensionOperation, kPROD)
  FACT_VALUE(facts, DimensionOperation, kMAX)
  FACT_VALUE(facts, DimensionOperation, kMIN)
  FACT_VALUE(facts, DimensionOperation, kSUB)
  FACT_VALUE(facts, DimensionOperation, kEQUAL)
  FACT_VALUE(facts, DimensionOperation, kLESS)
  FACT_VALUE(facts, DimensionOperation, kFLOOR_DIV)
  FACT_VALUE(facts, DimensionOperation, kCEIL_DIV)

  FACT_TABLE(facts, apiv::VRoot) {
    auto& list = facts;
    using Expression = nvinfer1::apiv::VDimensionExpr;
    using Builder = nvinfer1::apiv::VExprBuilder;
    list.push_back(virtual_function("VDimensionExpr::isConstant", &Expression::isConstant));
    list.push_back(
        virtual_function("VDimensionExpr::getConstantValue", &Expression::getConstantValue));
    list.push_back(virtual_function("VExprBuilder::constant", &Builder::constant));
    list.push_back(virtual_function("VExprBuilder::operation", &Builder::operation));
  }
  return facts;
}

}  // namespace
}  // namespace dovetail::tensorrt_test
