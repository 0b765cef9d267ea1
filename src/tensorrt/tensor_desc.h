// SPDX-License-Identifier: Apache-2.0
// TensorRT's tensor descriptions in our words.
#pragma once

#include <optional>
#include <vector>

#include "dovetail/cuda.h"
#include "ops/schema.h"
#include "tensorrt/interface.h"

namespace dovetail::tensorrt {

std::optional<DataType> data_type(nvinfer1::DataType type);

// The inputs at the largest shapes of the optimisation profile, or as they are now.
Result<std::vector<TensorDesc>> largest_shapes(const OpSchema& schema,
                                               const nvinfer1::DynamicPluginTensorDesc* in,
                                               std::int32_t inputs);
Result<std::vector<TensorDesc>> actual_shapes(const OpSchema& schema,
                                              const nvinfer1::PluginTensorDesc* in,
                                              std::int32_t inputs);

// The GPU that is current on this thread; its properties are read once per process.
Result<CudaDevice> current_device();

}  // namespace dovetail::tensorrt
