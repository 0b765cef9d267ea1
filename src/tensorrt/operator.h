// SPDX-License-Identifier: Apache-2.0
// One operator, bound to checked attributes, as both plugin interfaces (V3 and V2) see it.
// Everything here forwards to src/ops and the CUDA plans; the adapters above hold no operator rule.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <vector>

#include "dovetail/cuda.h"
#include "ops/output_rule.h"
#include "ops/schema.h"

namespace dovetail::tensorrt {

// A planned call for fixed shapes. Immutable.
class Call {
 public:
  virtual ~Call() = default;
  virtual std::size_t workspace_bytes() const = 0;
  virtual Status run(const void* const* inputs, void* const* outputs, void* workspace,
                     void* stream) const = 0;
};

class Operator {
 public:
  virtual ~Operator() = default;
  virtual const OpSchema& schema() const = 0;
  virtual std::vector<Attribute> attributes() const = 0;
  virtual int input_count() const = 0;
  // The declared input at a node position.
  virtual const TensorSpec& input_spec(int position) const = 0;
  virtual std::vector<OutputRule> output_rules(int activation_rank) const = 0;
  // Types that the CUDA kernels have, given the types of the inputs and outputs before `position`.
  virtual bool supports_type(int position, std::span<const DataType> before,
                             DataType type) const = 0;
  // The most workspace that calls within a profile need; the inputs are its upper bounds.
  virtual Result<std::size_t> workspace_bound(std::vector<TensorDesc> largest) const = 0;
  virtual Result<std::shared_ptr<const Call>> plan(std::span<const TensorDesc> inputs,
                                                   const CudaDevice& device) const = 0;
};

// Parses and checks the attributes of the operator that `schema` declares. kUnsupported when no GPU
// serves them with any types, so that a node fails when it is created.
Result<std::shared_ptr<const Operator>> make_operator(const OpSchema& schema,
                                                      std::span<const Attribute> attributes);

}  // namespace dovetail::tensorrt
