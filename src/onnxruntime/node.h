// SPDX-License-Identifier: Apache-2.0
// What a graph node says about itself when its kernel is created: attributes, inputs, allocator.
// The operator's own checks judge it; this file only reads.
#pragma once

#include <onnxruntime_c_api.h>

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "dovetail/status.h"
#include "ops/schema.h"

namespace dovetail::ort {

std::string node_name(const OrtApi& api, const OrtKernelInfo* info);

// The declared attributes that the node has. ONNX Runtime lets a kernel ask by name only, so an
// attribute that the operator does not declare stays unseen.
Result<std::vector<Attribute>> read_attributes(const OrtApi& api, const OrtKernelInfo* info,
                                               const OpSchema& schema);

// Types and shapes as far as the graph knows them, see may_equal: unknown dimensions are -1.
// `declared[i]` is the declaration of input i. Omitted inputs at the end are not counted.
struct NodeInput {
  TensorDesc desc;
  bool constant;     // an initializer that nobody can override: its shape is settled
  const void* data;  // of a constant: where it stays, in the provider's memory; else null
};
Result<std::vector<NodeInput>> read_inputs(const OrtApi& api, const OrtKernelInfo* info,
                                           const OpSchema& schema,
                                           std::span<const TensorSpec* const> declared);

// Every declared output must be there and have a name.
Status check_outputs(const OrtApi& api, const OrtKernelInfo* info, const OpSchema& schema);

// Memory of the execution provider, for the kernel's scratch. Thread-safe.
class Allocator {
 public:
  static Result<Allocator> open(const OrtApi& api, const OrtKernelInfo* info);

  // Of the GPU whose memory this is; 0 on the CPU.
  int device_ordinal() const { return device_ordinal_; }

  // Null status and pointer for 0 bytes. The pointer is kAlignment-aligned until `release` gets it
  // back. On a GPU the block belongs to the stream of `context`: released when the work has been
  // enqueued, it is not handed to another stream before that work is done.
  static constexpr std::size_t kAlignment = 64;
  struct Block {
    void* raw = nullptr;
    void* aligned = nullptr;
  };
  Status allocate(const OrtKernelContext* context, std::size_t bytes, Block* block) const;
  void release(const Block& block) const noexcept;

 private:
  Allocator(const OrtApi& api, OrtAllocator* allocator);
  const OrtApi* api_;
  std::shared_ptr<OrtAllocator> allocator_;
  const OrtMemoryInfo* memory_ = nullptr;  // the allocator's
  bool on_gpu_ = false;
  int device_ordinal_ = 0;
};

}  // namespace dovetail::ort
