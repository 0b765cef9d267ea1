// SPDX-License-Identifier: Apache-2.0
// The V3 calls in the order of TensorRT's builder and runtime.
#include <dlfcn.h>

#include "ops/message.h"
#include "plugin_host/node_fields.h"
#include "plugin_host/plugin_host.h"
#include "plugin_host/shape_expressions.h"

namespace dovetail::plugin_host {
namespace {

using nvinfer1::DynamicPluginTensorDesc;
using nvinfer1::PluginTensorDesc;
using Plugin = std::unique_ptr<nvinfer1::IPluginV3>;
using Creator = nvinfer1::IPluginCreatorV3One;

template <class Capability>
Capability* capability(const Plugin& plugin, nvinfer1::PluginCapabilityType type) {
  return static_cast<Capability*>(plugin->getCapabilityInterface(type));
}

// What the builder learnt about a node; contexts share it.
struct Facts {
  std::vector<DataType> output_types = {};
  std::vector<int> aliases = {};
  std::size_t workspace_bytes = 0;
  std::shared_ptr<ExpressionBuilder> expressions = std::make_shared<ExpressionBuilder>();
  std::vector<nvinfer1::DimsExprs> output_shapes = {};
};

class ContextV3 final : public Context {
 public:
  ContextV3(Plugin plugin, Facts facts) : plugin_(std::move(plugin)), facts_(std::move(facts)) {}

  Status set_shapes(std::span<const TensorDesc> inputs) override {
    inputs_.assign(inputs.begin(), inputs.end());
    std::vector<PluginTensorDesc> in = describe(inputs_);
    std::vector<PluginTensorDesc> out = describe(outputs());
    return step_status(
        runtime()->onShapeChange(in.data(), static_cast<std::int32_t>(in.size()), out.data(),
                                 static_cast<std::int32_t>(out.size())) == 0,
        "onShapeChange");
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
    const std::vector<PluginTensorDesc> out =
        inputs_.empty() ? std::vector<PluginTensorDesc>{} : describe(outputs());
    return step_status(runtime()->enqueue(in.data(), out.data(), inputs.data(), outputs_to.data(),
                                          workspace, static_cast<cudaStream_t>(stream)) == 0,
                       "enqueue");
  }

 private:
  nvinfer1::IPluginV3OneRuntime* runtime() const {
    return capability<nvinfer1::IPluginV3OneRuntime>(plugin_,
                                                     nvinfer1::PluginCapabilityType::kRUNTIME);
  }
  static std::vector<PluginTensorDesc> describe(const std::vector<TensorDesc>& tensors) {
    std::vector<PluginTensorDesc> descs;
    for (const TensorDesc& tensor : tensors) {
      descs.push_back(engine_desc(tensor));
    }
    return descs;
  }

  Plugin plugin_;
  Facts facts_;
  std::vector<TensorDesc> inputs_;
};

class EngineV3 final : public Engine {
 public:
  EngineV3(Creator* creator, Facts facts, std::string state)
      : creator_(creator), facts_(std::move(facts)), state_(std::move(state)) {}

  std::size_t workspace_bytes() const override { return facts_.workspace_bytes; }
  std::vector<DataType> output_types() const override { return facts_.output_types; }
  std::vector<int> aliased_inputs() const override { return facts_.aliases; }
  std::string state() const override { return state_; }
  const Facts& facts() const { return facts_; }

  Result<std::unique_ptr<Context>> make_context() const override {
    NodeFields fields(state_);
    const Plugin deserialized(
        creator_->createPlugin("node", fields.collection(), nvinfer1::TensorRTPhase::kRUNTIME));
    DOVETAIL_RETURN_IF_ERROR(step_status(deserialized != nullptr, "createPlugin for runtime"));
    auto* runtime = capability<nvinfer1::IPluginV3OneRuntime>(
        deserialized, nvinfer1::PluginCapabilityType::kRUNTIME);
    Plugin attached(runtime->attachToContext(nullptr));
    DOVETAIL_RETURN_IF_ERROR(step_status(attached != nullptr, "attachToContext"));
    return std::unique_ptr<Context>(std::make_unique<ContextV3>(std::move(attached), facts_));
  }

 private:
  Creator* creator_;
  Facts facts_;
  std::string state_;
};

class LibraryV3 final : public Library {
 public:
  LibraryV3(nvinfer1::IPluginCreatorInterface* const* creators, std::int32_t count)
      : creators_(creators, creators + count) {}

  std::vector<CreatorInfo> creators() const override {
    std::vector<CreatorInfo> infos;
    for (nvinfer1::IPluginCreatorInterface* any : creators_) {
      CreatorInfo info{.interface_kind = any->getInterfaceInfo().kind};
      if (Creator* creator = as_v3(any)) {
        info.name = creator->getPluginName();
        info.version = creator->getPluginVersion();
        info.plugin_namespace = creator->getPluginNamespace();
        const nvinfer1::PluginFieldCollection* fields = creator->getFieldNames();
        for (std::int32_t i = 0; fields != nullptr && i < fields->nbFields; ++i) {
          info.fields.push_back(fields->fields[i].name);
        }
      }
      infos.push_back(info);
    }
    return infos;
  }

  Result<std::unique_ptr<Engine>> build(const Node& node) const override;
  Result<std::unique_ptr<Engine>> load(const Node& node, const Engine& like,
                                       const std::string& state) const override {
    return std::unique_ptr<Engine>(std::make_unique<EngineV3>(
        find(node.op), static_cast<const EngineV3&>(like).facts(), state));
  }

 private:
  static Creator* as_v3(nvinfer1::IPluginCreatorInterface* any) {
    return std::string(any->getInterfaceInfo().kind) == "PLUGIN CREATOR_V3ONE"
               ? static_cast<Creator*>(any)
               : nullptr;
  }
  Creator* find(const std::string& name) const {
    for (nvinfer1::IPluginCreatorInterface* any : creators_) {
      if (Creator* creator = as_v3(any); creator != nullptr && name == creator->getPluginName()) {
        return creator;
      }
    }
    return nullptr;
  }

  std::vector<nvinfer1::IPluginCreatorInterface*> creators_;
};

DynamicPluginTensorDesc dynamic_desc(const Input& input) {
  return {engine_desc({input.type, input.opt}), engine_dims(input.min), engine_dims(input.max),
          engine_dims(input.opt)};
}

Result<std::unique_ptr<Engine>> LibraryV3::build(const Node& node) const {
  Creator* creator = find(node.op);
  if (creator == nullptr) {
    return not_found("no creator of ", node.op);
  }
  NodeFields fields(node.fields);
  const Plugin parsed(
      creator->createPlugin("node", fields.collection(), nvinfer1::TensorRTPhase::kBUILD));
  DOVETAIL_RETURN_IF_ERROR(step_status(parsed != nullptr, "createPlugin"));
  const Plugin plugin(parsed->clone());  // the network keeps a copy
  DOVETAIL_RETURN_IF_ERROR(step_status(plugin != nullptr, "clone"));
  auto* build =
      capability<nvinfer1::IPluginV3OneBuildV2>(plugin, nvinfer1::PluginCapabilityType::kBUILD);
  auto* runtime =
      capability<nvinfer1::IPluginV3OneRuntime>(plugin, nvinfer1::PluginCapabilityType::kRUNTIME);
  const auto inputs = static_cast<std::int32_t>(node.inputs.size());
  const std::int32_t outputs = build->getNbOutputs();

  Facts facts;
  std::vector<nvinfer1::DataType> types, output_types(static_cast<std::size_t>(outputs));
  std::vector<nvinfer1::DimsExprs> shapes;
  std::vector<DynamicPluginTensorDesc> descs;
  std::vector<TensorDesc> optimal;
  for (std::int32_t i = 0; i < inputs; ++i) {
    const Input& input = node.inputs[static_cast<std::size_t>(i)];
    types.push_back(engine_type(input.type));
    shapes.push_back(facts.expressions->input(i, input.min, input.max));
    descs.push_back(dynamic_desc(input));
    optimal.push_back({input.type, input.opt});
  }
  DOVETAIL_RETURN_IF_ERROR(step_status(
      build->getOutputDataTypes(output_types.data(), outputs, types.data(), inputs) == 0,
      "getOutputDataTypes"));
  facts.output_shapes.resize(static_cast<std::size_t>(outputs));
  DOVETAIL_RETURN_IF_ERROR(step_status(
      build->getOutputShapes(shapes.data(), inputs, nullptr, 0, facts.output_shapes.data(), outputs,
                             *facts.expressions) == 0,
      "getOutputShapes"));
  for (std::int32_t i = 0; i < outputs; ++i) {
    const auto at = static_cast<std::size_t>(i);
    facts.output_types.push_back(our_type(output_types[at]));
    const TensorDesc out{facts.output_types.back(), evaluate(facts.output_shapes[at], optimal)};
    descs.push_back(dynamic_desc({out.type, out.shape, out.shape, out.shape}));
    facts.aliases.push_back(build->getAliasedInput(i));
  }
  for (std::int32_t i = 0; i < inputs + outputs; ++i) {
    if (!build->supportsFormatCombination(i, descs.data(), inputs, outputs)) {
      const std::vector<std::string> logged = take_messages();
      return unsupported("no format for tensor ", i, logged.empty() ? "" : ": " + logged.back());
    }
    auto vectorized = descs;  // every other format is refused
    vectorized[static_cast<std::size_t>(i)].desc.format = static_cast<nvinfer1::TensorFormat>(1);
    if (build->supportsFormatCombination(i, vectorized.data(), inputs, outputs)) {
      return internal_error("tensor ", i, " may be vectorized, expected linear only");
    }
  }
  DOVETAIL_RETURN_IF_ERROR(
      step_status(build->configurePlugin(descs.data(), inputs, descs.data() + inputs, outputs) == 0,
                  "configurePlugin"));
  facts.workspace_bytes =
      build->getWorkspaceSize(descs.data(), inputs, descs.data() + inputs, outputs);
  DOVETAIL_RETURN_IF_ERROR(step_status(true, "getWorkspaceSize"));
  const std::string state = NodeFields(*runtime->getFieldsToSerialize()).state();
  return std::unique_ptr<Engine>(std::make_unique<EngineV3>(creator, std::move(facts), state));
}

}  // namespace

std::unique_ptr<Library> open_v3(void* handle) {
  using GetCreators = nvinfer1::IPluginCreatorInterface* const* (*)(std::int32_t&);
  const auto get = reinterpret_cast<GetCreators>(dlsym(handle, "getCreators"));
  if (get == nullptr) {
    return nullptr;
  }
  std::int32_t count = 0;
  nvinfer1::IPluginCreatorInterface* const* creators = get(count);
  return std::make_unique<LibraryV3>(creators, count);
}

}  // namespace dovetail::plugin_host
