// SPDX-License-Identifier: Apache-2.0
// Facts of the V2 interface, TensorRT 8.6 and later. Include the declaration first.
#pragma once

#include "tensorrt/abi_facts.h"

namespace dovetail::tensorrt_test {
namespace {

AbiFacts v2_facts() {
  using nvinfer1::DataType;
  using nvinfer1::Dims;
  using nvinfer1::DimsExprs;
  using nvinfer1::DynamicPluginTensorDesc;
  using nvinfer1::IExprBuilder;
  using nvinfer1::PluginTensorDesc;
  using std::int32_t;
  AbiFacts facts;
  FACT_TABLE(facts, IPluginV2,
             SLOT(getTensorRTVersion) SLOT(getPluginType) SLOT(getPluginVersion) SLOT(getNbOutputs)
                 SLOT(getOutputDimensions) SLOT(supportsFormat) SLOT(configureWithFormat)
                     SLOT(initialize) SLOT(terminate) SLOT(getWorkspaceSize) SLOT(enqueue)
                         SLOT(getSerializationSize) SLOT(serialize) SLOT(destroy) SLOT(clone)
                             SLOT(setPluginNamespace) SLOT(getPluginNamespace))
  FACT_TABLE(facts, IPluginV2Ext,
             SLOT(getOutputDataType) SLOT(isOutputBroadcastAcrossBatch)
                 SLOT(canBroadcastInputAcrossBatch) SLOT(configurePlugin) SLOT(attachToContext)
                     SLOT(detachFromContext))
  FACT_TABLE(
      facts, IPluginV2DynamicExt,
      SLOT_OF(getOutputDimensions, DimsExprs,
              (int32_t, DimsExprs const*, int32_t, IExprBuilder&) noexcept)
          SLOT_OF(supportsFormatCombination, bool,
                  (int32_t, PluginTensorDesc const*, int32_t, int32_t) noexcept)
              SLOT_OF(configurePlugin, void,
                      (DynamicPluginTensorDesc const*, int32_t, DynamicPluginTensorDesc const*,
                       int32_t) noexcept) SLOT_OF(getWorkspaceSize, std::size_t,
                                                  (PluginTensorDesc const*, int32_t,
                                                   PluginTensorDesc const*, int32_t) const noexcept)
                  SLOT_OF(enqueue, int32_t,
                          (PluginTensorDesc const*, PluginTensorDesc const*, void const* const*,
                           void* const*, void*, CUstream_st*) noexcept))
  FACT_TABLE(facts, IPluginCreator,
             SLOT(getPluginName) SLOT(getPluginVersion) SLOT(getFieldNames) SLOT(createPlugin)
                 SLOT(deserializePlugin) SLOT(setPluginNamespace) SLOT(getPluginNamespace))
  return facts;
}

}  // namespace
}  // namespace dovetail::tensorrt_test
