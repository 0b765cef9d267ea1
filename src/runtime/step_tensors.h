// SPDX-License-Identifier: Apache-2.0
// What every engine does with the graph of a package: checks that its inputs and outputs are those
// of docs/package.md, and gives it the small inputs of a step. Caches, the RoPE table and the
// logits are the engine's own business: it decides where they lie.
#pragma once

#include <string>
#include <vector>

#include "dovetail/tensor.h"
#include "runtime/engine.h"

namespace dovetail {

// ok, or the first name that is missing or unknown. `file` is where the graph came from.
Status check_graph_names(const Manifest& manifest, const std::filesystem::path& file,
                         std::vector<std::string> inputs, std::vector<std::string> outputs);

// An engine of `dovetail build` has two optimisation profiles (python/dovetail/build/profiles.py):
// 0 takes prompts, whole or in chunks; 1 one token a lane, or a draft tree.
inline constexpr int kProfiles = 2;
int profile_of(const Step& step);
Status check_profiles(const std::filesystem::path& file, int profiles);

// A layer's KV cache for `batch` lanes.
Shape cache_shape(const Manifest& manifest, std::int64_t batch);

struct HostTensor {
  const char* name = nullptr;
  DataType type = DataType::kInt32;
  Shape shape;
  const void* data = nullptr;

  std::size_t bytes() const { return static_cast<std::size_t>(shape.count()) * size_of(type); }
};

class StepTensors {
 public:
  StepTensors(const Manifest& manifest, std::int64_t batch)
      : manifest_(manifest), zeros_(static_cast<std::size_t>(batch), 0) {}

  // Everything but past_key_values_i and rope_rotary_cos_sin. Valid while the step's memory is.
  std::vector<HostTensor> inputs(const Step& step) const;
  Shape logits_shape(const Step& step) const;

 private:
  const Manifest& manifest_;
  std::vector<std::int32_t> zeros_;  // [B], for inputs that a step leaves out
};

}  // namespace dovetail
