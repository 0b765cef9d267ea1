// SPDX-License-Identifier: Apache-2.0
// manifest.json of a model package: what the graph is and which files belong to it
// (docs/package.md). Parsing is strict: a missing, mistyped or out-of-range field is an error that
// names the field.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "dovetail/status.h"
#include "dovetail/tensor.h"

namespace dovetail {

inline constexpr std::int64_t kPackageVersion = 1;  // the newest version this runtime reads

struct ModelFacts {
  std::string family;
  std::int64_t layers = 0;
  std::int64_t hidden_size = 0;   // H
  std::int64_t vocab_size = 0;    // V
  std::int64_t num_q_heads = 0;   // Hq
  std::int64_t num_kv_heads = 0;  // Hk
  std::int64_t head_size = 0;     // D
  std::int64_t rotary_width = 0;  // R
};

struct Manifest {
  std::int64_t version = 0;
  std::string producer;
  std::string engine;                             // "onnxruntime", "tensorrt"
  DataType activation_type = DataType::kFloat32;  // T: inputs_embeds
  DataType kv_type = DataType::kFloat16;          // past_key_values_i
  std::int64_t capacity = 0;                      // C: tokens that a lane can hold
  std::int64_t max_batch = 0;
  bool tree = false;  // attention_mask, attention_pos_id are inputs
  ModelFacts model;
  std::string weights;                              // "int4 g128 cpu_v1", "float": for people
  bool int4_weights = false;                        // then only the head may be a float matrix
  std::optional<std::int32_t> bos_token_id;         // null in models that have none
  std::vector<std::int32_t> eos_token_ids;          // each one ends a text
  std::map<std::string, std::uint64_t> file_bytes;  // name -> size

  // Of an engine folder (`dovetail build`); empty and 0 in a package.
  std::string builder;         // "tensorrt", "tensorrt-rtx"
  std::int64_t max_input = 0;  // tokens that one step may bring per lane
};

// `text` is the content of `file`, which only error messages mention.
Result<Manifest> parse_manifest(std::string_view text, const std::string& file);

// The same from config.json of an engine folder, which holds the manifest of its package.
Result<Manifest> parse_engine_config(std::string_view text, const std::string& file);

}  // namespace dovetail
