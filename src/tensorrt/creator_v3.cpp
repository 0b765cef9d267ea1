// SPDX-License-Identifier: Apache-2.0
#include "tensorrt/creator_v3.h"

#include "tensorrt/logging.h"
#include "tensorrt/plugin_v3.h"

namespace dovetail::tensorrt {

nvinfer1::IPluginV3* CreatorV3::createPlugin(const char*,
                                             const nvinfer1::PluginFieldCollection* fields,
                                             nvinfer1::TensorRTPhase phase) noexcept {
  nvinfer1::IPluginV3* plugin = nullptr;
  guarded("createPlugin", [&]() -> Status {
    const Result<std::vector<Attribute>> attributes = read_fields(schema_, fields, phase);
    if (!attributes.ok()) {
      return attributes.status();
    }
    Result<std::shared_ptr<const Operator>> op = make_operator(schema_, *attributes);
    if (!op.ok()) {
      return op.status();
    }
    plugin = new PluginV3(*std::move(op), namespace_);
    return Status::success();
  });
  return plugin;
}

}  // namespace dovetail::tensorrt
