// SPDX-License-Identifier: Apache-2.0
// Drives a plugin library through a TensorRT engine's calls, in its order, without TensorRT:
//
//   build    creator -> createPlugin -> clone -> output types -> output shapes (symbolic) ->
//            formats -> configure (profile) -> workspace -> serialise
//   run      creator -> createPlugin / deserialise from the state alone -> attach to a context ->
//            shape change -> enqueue
//
// One interface for V3 and V2 libraries; engine_v3.cpp and engine_v2.cpp hold what differs. Errors
// that the plugin logs come back in the Status of the step that failed.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "dovetail/status.h"
#include "dovetail/tensor.h"
#include "ops/schema.h"

namespace dovetail::plugin_host {

struct CreatorInfo {
  std::string name = {};
  std::string version = {};
  std::string plugin_namespace = {};
  std::string interface_kind = {};
  std::vector<std::string> fields = {};
};

// An input of a node: its type and an optimisation profile.
struct Input {
  DataType type;
  Shape min, opt, max;
};

struct Node {
  std::string op = {};
  std::vector<Attribute> fields = {};
  std::vector<Input> inputs = {};
};

// One execution context: its plugin and the shapes set last. For one thread at a time.
class Context {
 public:
  virtual ~Context() = default;
  // Actual input shapes, within the profile.
  virtual Status set_shapes(std::span<const TensorDesc> inputs) = 0;
  // Bytes of each output for the shapes that were set.
  virtual std::vector<TensorDesc> outputs() const = 0;
  virtual Status enqueue(std::span<const void* const> inputs, std::span<void* const> outputs,
                         void* workspace, void* stream) = 0;
};

// What an engine file keeps of a node, and the contexts made from it.
class Engine {
 public:
  virtual ~Engine() = default;
  virtual std::size_t workspace_bytes() const = 0;
  virtual std::vector<DataType> output_types() const = 0;
  // Input that each output is aliased to; -1: none.
  virtual std::vector<int> aliased_inputs() const = 0;
  // The serialised state: the blob of a V2 plugin, "name type length bytes" lines of V3 fields.
  virtual std::string state() const = 0;
  virtual Result<std::unique_ptr<Context>> make_context() const = 0;
};

enum class LoggerForm { kPlain, kVersioned };  // src/tensorrt/abi/logger_interface.h

class Library {
 public:
  // Opens a plugin library; its creators get a logger finder of the given form.
  static Result<std::unique_ptr<Library>> open(const std::string& path, LoggerForm form);
  virtual ~Library() = default;

  virtual std::vector<CreatorInfo> creators() const = 0;
  virtual Result<std::unique_ptr<Engine>> build(const Node& node) const = 0;
  // An engine whose state was read from a file. `state` may be anything.
  virtual Result<std::unique_ptr<Engine>> load(const Node& node, const Engine& like,
                                               const std::string& state) const = 0;
};

// What plugins logged on this thread since the last call.
std::vector<std::string> take_messages();

// ok, or the last message that was logged on this thread as an error of `step`.
Status step_status(bool ok, const char* step);
// For calls that have no result of their own: ok when nothing was logged.
Status logged_status();

// Used by Library::open, one per interface; null when the library has not the entry point.
std::unique_ptr<Library> open_v3(void* handle);
std::unique_ptr<Library> open_v2(void* handle);

}  // namespace dovetail::plugin_host
