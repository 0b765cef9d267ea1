// SPDX-License-Identifier: Apache-2.0
// Facts of the V3 interface, TensorRT 10.3 and later. Include the declaration first.
#pragma once

#include "tensorrt/abi_facts.h"

namespace dovetail::tensorrt_test {
namespace {

AbiFacts v3_facts() {
  AbiFacts facts;
  FACT_VALUE(facts, DataType, kBF16)
  FACT_VALUE(facts, DataType, kINT64)
  FACT_VALUE(facts, PluginFieldType, kBF16)
  FACT_VALUE(facts, PluginFieldType, kINT64)
  FACT_VALUE(facts, PluginCapabilityType, kCORE)
  FACT_VALUE(facts, PluginCapabilityType, kBUILD)
  FACT_VALUE(facts, PluginCapabilityType, kRUNTIME)
  FACT_VALUE(facts, TensorRTPhase, kBUILD)
  FACT_VALUE(facts, TensorRTPhase, kRUNTIME)
  FACT_VALUE(facts, APILanguage, kCPP)
  FACT_SIZE(facts, InterfaceInfo)
  FACT_OFFSET(facts, InterfaceInfo, kind)
  FACT_OFFSET(facts, InterfaceInfo, major)
  FACT_OFFSET(facts, InterfaceInfo, minor)
  FACT_OFFSET(facts, DynamicPluginTensorDesc, opt)
  FACT_SIZE(facts, DynamicPluginTensorDesc)

  FACT_TABLE(facts, apiv::VDimensionExpr, SLOT(isSizeTensor))
  FACT_TABLE(facts, apiv::VExprBuilder, SLOT(declareSizeTensor))
  FACT_TABLE(facts, IVersionedInterface, SLOT(getAPILanguage) SLOT(getInterfaceInfo))
  FACT_TABLE(facts, IPluginCapability)
  FACT_TABLE(facts, IPluginV3, SLOT(getInterfaceInfo) SLOT(getCapabilityInterface) SLOT(clone))
  FACT_TABLE(facts, IPluginV3OneCore,
             SLOT(getInterfaceInfo) SLOT(getPluginName) SLOT(getPluginVersion)
                 SLOT(getPluginNamespace))
  FACT_TABLE(facts, IPluginV3OneBuildV2,
             SLOT(getInterfaceInfo) SLOT(configurePlugin) SLOT(getOutputDataTypes)
                 SLOT(getOutputShapes) SLOT(supportsFormatCombination) SLOT(getNbOutputs)
                     SLOT(getWorkspaceSize) SLOT(getValidTactics) SLOT(getNbTactics)
                         SLOT(getTimingCacheID) SLOT(getFormatCombinationLimit)
                             SLOT(getMetadataString) SLOT(getAliasedInput))
  FACT_TABLE(facts, IPluginV3OneRuntime,
             SLOT(getInterfaceInfo) SLOT(setTactic) SLOT(onShapeChange) SLOT(enqueue)
                 SLOT(attachToContext) SLOT(getFieldsToSerialize))
  FACT_TABLE(facts, IPluginCreatorInterface)
  FACT_TABLE(facts, IPluginCreatorV3One,
             SLOT(getInterfaceInfo) SLOT(createPlugin) SLOT(getFieldNames) SLOT(getPluginName)
                 SLOT(getPluginVersion) SLOT(getPluginNamespace))
  return facts;
}

}  // namespace
}  // namespace dovetail::tensorrt_test
