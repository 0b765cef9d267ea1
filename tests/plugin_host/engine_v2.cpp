// SPDX-License-Identifier: Apache-2.0
// The V2 (IPluginV2DynamicExt) calls in the order of TensorRT's builder and runtime. Compiled for
// the binary interface of TensorRT 10 and of 8.6 (DOVETAIL_TENSORRT_ABI 8).
#include <dlfcn.h>

#include "ops/message.h"
#include "plugin_host/node_fields.h"
#include "plugin_host/plugin_host.h"
#include "plugin_host/shape_expressions.h"
#include "tensorrt/abi/plugin_interface_v2.h"

namespace dovetail::plugin_host {
namespace {

using nvinfer1::PluginTensorDesc;

struct Destroy {
  void operator()(nvinfer1::IPluginV2DynamicExt* plugin) const { plugin->destroy(); }
};
using Plugin = std::unique_ptr<nvinfer1::IPluginV2DynamicExt, Destroy>;

Plugin own(nvinfer1::IPluginV2* plugin) {
  return Plugin(static_cast<nvinfer1::IPluginV2DynamicExt*>(plugin));
}

struct Facts {
  std::vector<DataType> output_types = {};
  std::size_t workspace_bytes = 0;
  std::shared_ptr<ExpressionBuilder> expressions = std::make_shared<ExpressionBuilder>();
  std::vector<nvinfer1::DimsExprs> output_shapes = {};
};

std::vector<PluginTensorDesc> describe(const std::vector<TensorDesc>& tensors) {
  std::vector<PluginTensorDesc> descs;
  for (const TensorDesc& tensor : tensors) {
    descs.push_back(engine_desc(tensor));
  }
  return descs;
}

class ContextV2 final : public Context {
 public:
  ContextV2(Plugin plugin, Facts facts) : plugin_(std::move(plugin)), facts_(std::move(facts)) {}
  ~ContextV2() override {
    plugin_->detachFromContext();
    plugin_->terminate();
  }

  // V2 learns of new shapes at enqueue.
  Status set_shapes(std::span<const TensorDesc> inputs) override {
    inputs_.assign(inputs.begin(), inputs.end());
    return Status::success();
  }
  std::vector<TensorDesc> outputs() const override {
    std::vector<TensorDesc> result;
    for (std::size_t i = 0; i < facts_.output_types.size(); ++i) {
      result.push_back({facts_.output_types[i], evaluate(facts_.output_shapes[i], inputs_)});
    }
    return result;
  }
  Status enqueue(std::span<const void* const> inputs, std::span<void* const> outputs_to,
                 void* workspace, void* stream) override {
    const std::vector<PluginTensorDesc> in = describe(inputs_);
    const std::vector<PluginTensorDesc> out = describe(outputs());
    return step_status(plugin_->enqueue(in.data(), out.data(), inputs.data(), outputs_to.data(),
                                        workspace, static_cast<cudaStream_t>(stream)) == 0,
                       "enqueue");
  }

 private:
  Plugin plugin_;
  Facts facts_;
  std::vector<TensorDesc> inputs_;
};

class EngineV2 final : public Engine {
 public:
  EngineV2(nvinfer1::IPluginCreator* creator, Facts facts, std::string state)
      : creator_(creator), facts_(std::move(facts)), state_(std::move(state)) {}

  std::size_t workspace_bytes() const override { return facts_.workspace_bytes; }
  std::vector<DataType> output_types() const override { return facts_.output_types; }
  std::vector<int> aliased_inputs() const override {
    return std::vector<int>(facts_.output_types.size(), -1);  // V2 has no word for it
  }
  std::string state() const override { return state_; }
  const Facts& facts() const { return facts_; }

  Result<std::unique_ptr<Context>> make_context() const override {
    const Plugin deserialized =
        own(creator_->deserializePlugin("node", state_.data(), state_.size()));
    DOVETAIL_RETURN_IF_ERROR(step_status(deserialized != nullptr, "deserializePlugin"));
    Plugin plugin = own(deserialized->clone());
    DOVETAIL_RETURN_IF_ERROR(step_status(plugin != nullptr, "clone"));
    plugin->setPluginNamespace("");
    plugin->attachToContext(nullptr, nullptr, nullptr);
    DOVETAIL_RETURN_IF_ERROR(step_status(plugin->initialize() == 0, "initialize"));
    return std::unique_ptr<Context>(std::make_unique<ContextV2>(std::move(plugin), facts_));
  }

 private:
  nvinfer1::IPluginCreator* creator_;
  Facts facts_;
  std::string state_;
};

class LibraryV2 final : public Library {
 public:
  LibraryV2(nvinfer1::IPluginCreator* const* creators, std::int32_t count)
      : creators_(creators, creators + count) {}

  std::vector<CreatorInfo> creators() const override {
    std::vector<CreatorInfo> infos;
    for (nvinfer1::IPluginCreator* creator : creators_) {
      CreatorInfo info{.name = creator->getPluginName(),
                       .version = creator->getPluginVersion(),
                       .plugin_namespace = creator->getPluginNamespace(),
                       .interface_kind = "PLUGIN CREATOR_V1"};
      const nvinfer1::PluginFieldCollection* fields = creator->getFieldNames();
      for (std::int32_t i = 0; i < fields->nbFields; ++i) {
        info.fields.push_back(fields->fields[i].name);
      }
      infos.push_back(info);
    }
    return infos;
  }
  Result<std::unique_ptr<Engine>> build(const Node& node) const override;
  Result<std::unique_ptr<Engine>> load(const Node& node, const Engine& like,
                                       const std::string& state) const override {
    return std::unique_ptr<Engine>(std::make_unique<EngineV2>(
        find(node.op), static_cast<const EngineV2&>(like).facts(), state));
  }

 private:
  nvinfer1::IPluginCreator* find(const std::string& name) const {
    for (nvinfer1::IPluginCreator* creator : creators_) {
      if (name == creator->getPluginName()) {
        return creator;
      }
    }
    return nullptr;
  }

  std::vector<nvinfer1::IPluginCreator*> creators_;
};

Result<std::unique_ptr<Engine>> LibraryV2::build(const Node& node) const {
  nvinfer1::IPluginCreator* creator = find(node.op);
  if (creator == nullptr) {
    return not_found("no creator of ", node.op);
  }
  NodeFields fields(node.fields);
  const Plugin parsed = own(creator->createPlugin("node", fields.collection()));
  DOVETAIL_RETURN_IF_ERROR(step_status(parsed != nullptr, "createPlugin"));
  const Plugin plugin = own(parsed->clone());
  DOVETAIL_RETURN_IF_ERROR(step_status(plugin != nullptr, "clone"));
  const auto inputs = static_cast<std::int32_t>(node.inputs.size());
  const std::int32_t outputs = plugin->getNbOutputs();

  Facts facts;
  std::vector<nvinfer1::DataType> types;
  std::vector<nvinfer1::DimsExprs> shapes;
  std::vector<nvinfer1::DynamicPluginTensorDesc> dynamic;
  std::vector<PluginTensorDesc> largest;
  std::vector<TensorDesc> maxima;
  const auto add = [&](const Input& input) {
    nvinfer1::DynamicPluginTensorDesc desc{};
    desc.desc = engine_desc({input.type, input.opt});
    desc.min = engine_dims(input.min);
    desc.max = engine_dims(input.max);
    dynamic.push_back(desc);
    largest.push_back(engine_desc({input.type, input.max}));
  };
  for (std::int32_t i = 0; i < inputs; ++i) {
    const Input& input = node.inputs[static_cast<std::size_t>(i)];
    types.push_back(engine_type(input.type));
    shapes.push_back(facts.expressions->input(i, input.min, input.max));
    maxima.push_back({input.type, input.max});
    add(input);
  }
  for (std::int32_t i = 0; i < outputs; ++i) {
    facts.output_types.push_back(our_type(plugin->getOutputDataType(i, types.data(), inputs)));
    DOVETAIL_RETURN_IF_ERROR(logged_status());
    facts.output_shapes.push_back(
        plugin->getOutputDimensions(i, shapes.data(), inputs, *facts.expressions));
    DOVETAIL_RETURN_IF_ERROR(
        step_status(facts.output_shapes.back().nbDims >= 0, "getOutputDimensions"));
    const Shape shape = evaluate(facts.output_shapes.back(), maxima);
    add({facts.output_types.back(), shape, shape, shape});
  }
  for (std::int32_t i = 0; i < inputs + outputs; ++i) {
    if (!plugin->supportsFormatCombination(i, largest.data(), inputs, outputs)) {
      const std::vector<std::string> logged = take_messages();
      return unsupported("no format for tensor ", i, logged.empty() ? "" : ": " + logged.back());
    }
  }
  plugin->configurePlugin(dynamic.data(), inputs, dynamic.data() + inputs, outputs);
  DOVETAIL_RETURN_IF_ERROR(logged_status());
  facts.workspace_bytes =
      plugin->getWorkspaceSize(largest.data(), inputs, largest.data() + inputs, outputs);
  DOVETAIL_RETURN_IF_ERROR(logged_status());
  std::string state(plugin->getSerializationSize(), '\0');
  plugin->serialize(state.data());
  return std::unique_ptr<Engine>(std::make_unique<EngineV2>(creator, std::move(facts), state));
}

}  // namespace

std::unique_ptr<Library> open_v2(void* handle) {
  using GetCreators = nvinfer1::IPluginCreator* const* (*)(std::int32_t&);
  const auto get = reinterpret_cast<GetCreators>(dlsym(handle, "getPluginCreators"));
  if (get == nullptr) {
    return nullptr;
  }
  std::int32_t count = 0;
  nvinfer1::IPluginCreator* const* creators = get(count);
  return std::make_unique<LibraryV2>(creators, count);
}

}  // namespace dovetail::plugin_host
