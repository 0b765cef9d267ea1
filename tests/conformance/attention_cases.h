// SPDX-License-Identifier: Apache-2.0
// The attention cases that every backend runs. A case is a shape, a mode, types and options; the
// data follow from its seed (attention_data.h). Sources: the shapes that Edge-LLM 0.5 tests, the
// gaps it leaves, and defects that users reported for other attention kernels; `reason` says which.
//
// Names: mode, Hq/Hk/D, what is special. Unused cache slots and padding rows are NaN and Inf.
#pragma once

#include <cstdint>
#include <ostream>
#include <string>
#include <vector>

#include "dovetail/attention.h"

namespace dovetail::test_support {

// One case, one entry: not for clang-format.
// clang-format off
enum class MaskKind {
  kRandom,  // independent bits, also above the diagonal, also empty rows
  kCausal,
  kTree,    // every token sees its ancestors and itself
};

enum class Content {
  kRandom,
  kUniform,  // Q = K = 0 and V one-hot by slot: the output counts the visible slots
  kOneHot,   // the token at slot s selects slot s / 2 (all slots < D): the output is that slot's V
};

struct AttentionCase {
  std::string name = {};
  std::string reason = {};
  AttentionMode mode = AttentionMode::kDecode;
  std::int64_t batch = 1, q_heads = 8, kv_heads = 2, d = 64;
  std::int64_t rotary = 0;  // 0: D
  std::int64_t capacity = 64, tokens = 1;
  // Per lane; empty: 0 in prefill, otherwise drawn from [C/4, C - S].
  std::vector<std::int64_t> histories = {};
  std::vector<std::int64_t> lengths = {};  // new tokens per lane; empty: S. Decode: 0 omits a lane
  DataType activation = DataType::kFloat16, cache = DataType::kFloat16;
  MaskKind mask = MaskKind::kRandom;
  std::int64_t tree_padding = 0;        // last tokens of a tree at position -1, with mask bits set
  std::int32_t window = -1;
  float scale = 0, softcap = 0;
  bool norm = false;
  bool lane_rope = false;               // one table per lane
  std::int64_t rope_rows = 0;           // 0: C
  double theta = 1e4;
  bool remainder = false;               // decode shape that means prefill of one token
  bool separate_past = false;           // past_kv_cache is another buffer
  float range = 1;                      // Q, K, V uniform in [-range, range]
  Content content = Content::kRandom;
};

inline std::ostream& operator<<(std::ostream& out, const AttentionCase& c) { return out << c.name; }

// The case's seed: FNV-1a of its name.
inline std::uint64_t seed_of(const AttentionCase& c) {
  std::uint64_t hash = 0xcbf29ce484222325ull;
  for (char letter : c.name) {
    hash = (hash ^ static_cast<unsigned char>(letter)) * 0x100000001b3ull;
  }
  return hash;
}

inline std::vector<AttentionCase> attention_cases() {
  using enum AttentionMode;
  using enum DataType;
  std::vector<AttentionCase> cases;
  const auto add = [&](AttentionCase c) {
    const std::string heads = std::to_string(c.q_heads) + "_" + std::to_string(c.kv_heads) + "_" +
                              std::to_string(c.d);
    c.name = std::to_string(cases.size()) + "_" + c.name + "_" + heads;
    cases.push_back(std::move(c));
  };

  // Edge-LLM decode shapes, FP16 and FP8 caches.
  constexpr std::int64_t kDecodeShapes[][5] = {
      {1, 24, 8, 128, 1024}, {2, 24, 8, 128, 512},  {4, 24, 8, 128, 256}, {1, 32, 8, 128, 1024},
      {2, 32, 8, 128, 512},  {4, 32, 8, 128, 256},  {1, 32, 8, 64, 2048}, {4, 16, 4, 64, 512},
      {1, 40, 8, 128, 1024}, {2, 40, 8, 128, 512},  {4, 40, 8, 128, 512}, {1, 28, 4, 128, 1024},
      {2, 28, 4, 128, 512},  {4, 28, 4, 128, 256},  {1, 28, 4, 64, 1024}, {4, 14, 2, 64, 512},
      {1, 32, 4, 128, 1024}, {2, 32, 4, 128, 512},  {4, 32, 4, 128, 256},
  };
  for (const auto& s : kDecodeShapes) {
    for (DataType cache : {kFloat16, kFloat8E4M3}) {
      add({.name = "decode", .reason = "Edge-LLM decode shape", .batch = s[0], .q_heads = s[1],
           .kv_heads = s[2], .d = s[3], .capacity = s[4], .cache = cache, .range = 5});
    }
  }

  // Edge-LLM tree shapes: random non-causal masks.
  constexpr std::int64_t kTreeShapes[][5] = {
      {32, 8, 128, 512, 10}, {32, 8, 128, 256, 32}, {32, 8, 128, 320, 60}, {32, 4, 128, 256, 48},
      {32, 4, 128, 128, 64}, {24, 3, 128, 192, 60}, {24, 3, 128, 512, 20}, {14, 2, 64, 256, 48},
      {14, 2, 64, 128, 64},  {14, 2, 64, 192, 60},  {14, 2, 64, 512, 20},
  };
  for (const auto& s : kTreeShapes) {
    for (DataType cache : {kFloat16, kFloat8E4M3}) {
      add({.name = "tree", .reason = "Edge-LLM tree shape", .mode = kTreeDecode, .q_heads = s[0],
           .kv_heads = s[1], .d = s[2], .capacity = s[3], .tokens = s[4],
           .histories = {s[3] - s[4]}, .cache = cache, .range = 5});
    }
  }
  constexpr std::int64_t kPadded[][2] = {{2, 2}, {2, 7}, {3, 10}, {5, 7}};
  for (const auto& s : kPadded) {
    add({.name = "tree_padded", .reason = "Edge-LLM padding consistency", .mode = kTreeDecode,
         .q_heads = 32, .kv_heads = 8, .d = 128, .capacity = 270, .tokens = s[1],
         .histories = {256}, .tree_padding = s[1] - s[0], .range = 5});
  }

  // Edge-LLM RoPE and cache-write shapes.
  struct RopeShape {
    AttentionMode mode;
    std::int64_t batch, q_heads, kv_heads, d, rotary, capacity, tokens;
    double theta = 1e4;
    bool lane_rope = false;
    std::int64_t rope_rows = 0;
  };
  const RopeShape kRopeShapes[] = {
      {kPrefill, 1, 32, 8, 128, 128, 2048, 512},
      {kPrefill, 2, 24, 3, 128, 128, 4096, 512},
      {kPrefill, 1, 28, 7, 128, 128, 2048, 512},
      {kPrefill, 4, 16, 4, 64, 64, 2048, 512},
      {kPrefill, 2, 24, 8, 128, 96, 4096, 512},
      {kPrefill, 2, 24, 8, 128, 96, 4096, 512, 1e4, true, 8192},
      {kDecode, 1, 32, 8, 128, 128, 2048, 1},
      {kDecode, 1, 28, 4, 128, 128, 4096, 1, 5e5},
      {kDecode, 1, 16, 2, 64, 64, 4096, 1},
      {kDecode, 1, 24, 4, 128, 128, 4096, 1},
      {kDecode, 2, 24, 8, 128, 96, 4096, 1},
      {kDecode, 2, 24, 8, 128, 96, 4096, 1, 1e4, true},
      {kTreeDecode, 1, 32, 8, 128, 128, 2048, 4},
      {kTreeDecode, 1, 28, 4, 128, 128, 4096, 32, 5e5},
      {kTreeDecode, 1, 24, 6, 64, 64, 4096, 64},
      {kTreeDecode, 1, 16, 2, 128, 128, 4096, 50},
      {kTreeDecode, 2, 24, 8, 128, 96, 4096, 32},
      {kTreeDecode, 2, 24, 8, 128, 96, 4096, 32, 1e4, true},
  };
  for (const RopeShape& s : kRopeShapes) {
    const std::vector<std::int64_t> held = {s.capacity / 8, s.capacity / 5};
    add({.name = "rope", .reason = "Edge-LLM RoPE and cache-write shape", .mode = s.mode,
         .batch = s.batch, .q_heads = s.q_heads, .kv_heads = s.kv_heads, .d = s.d,
         .rotary = s.rotary, .capacity = s.capacity, .tokens = s.tokens,
         .histories = s.mode == kPrefill ? std::vector<std::int64_t>{} : held,
         .lane_rope = s.lane_rope, .rope_rows = s.rope_rows, .theta = s.theta});
  }

  // Edge-LLM plugin-level shapes, ours with every lane at its own length.
  for (std::int64_t batch : {1, 2, 4}) {
    add({.name = "plugin_chunk", .reason = "Edge-LLM plugin test", .mode = kChunkedPrefill,
         .batch = batch, .q_heads = 8, .kv_heads = 8, .d = 128, .capacity = 64, .tokens = 8,
         .histories = {16, 0, 56, 8}});
    add({.name = "plugin_decode", .reason = "Edge-LLM plugin test", .batch = batch, .q_heads = 8,
         .kv_heads = 8, .d = 128, .capacity = 64, .histories = {4, 0, 63, 17}});
  }
  add({.name = "plugin_tree", .reason = "Edge-LLM plugin test", .mode = kTreeDecode, .batch = 4,
       .q_heads = 8, .kv_heads = 8, .d = 128, .capacity = 64, .tokens = 4,
       .histories = {0, 8, 31, 60}, .mask = MaskKind::kTree});

  // Head sizes and ratios, in decode and in a small prefill.
  constexpr std::int64_t kHeads[][3] = {
      {4, 4, 32},  {4, 2, 64}, {6, 2, 80},  {5, 1, 96},   {12, 2, 128}, {7, 1, 192},
      {8, 1, 256}, {16, 1, 64}, {32, 2, 96}, {1, 1, 112}, {9, 1, 80},   {3, 3, 256},
  };
  for (const auto& s : kHeads) {
    add({.name = "heads_decode", .reason = "head size and ratio", .batch = 2, .q_heads = s[0],
         .kv_heads = s[1], .d = s[2], .capacity = 300});
    add({.name = "heads_prefill", .reason = "head size and ratio", .mode = kPrefill, .batch = 2,
         .q_heads = s[0], .kv_heads = s[1], .d = s[2], .capacity = 80, .tokens = 67,
         .lengths = {67, 19}});
  }

  // Types: every activation type with every cache type, in three modes.
  for (DataType activation : {kFloat32, kFloat16, kBFloat16}) {
    for (DataType cache : {kFloat32, kFloat16, kBFloat16, kFloat8E4M3}) {
      add({.name = "types_decode", .reason = "type pair", .capacity = 200, .activation = activation,
           .cache = cache});
      add({.name = "types_chunk", .reason = "type pair", .mode = kChunkedPrefill, .capacity = 200,
           .tokens = 21, .activation = activation, .cache = cache});
      add({.name = "types_tree", .reason = "type pair", .mode = kTreeDecode, .capacity = 200,
           .tokens = 9, .activation = activation, .cache = cache, .tree_padding = 2});
    }
  }

  // Lengths at the edges of tiles, blocks and splits.
  for (std::int64_t length : {1, 2, 15, 16, 17, 63, 64, 65, 127, 128, 129, 255, 256, 257, 514}) {
    add({.name = "length_decode", .reason = "length " + std::to_string(length), .q_heads = 4,
         .kv_heads = 1, .capacity = 520, .histories = {length - 1}, .activation = kFloat32});
    add({.name = "length_prefill", .reason = "length " + std::to_string(length), .mode = kPrefill,
         .q_heads = 3, .kv_heads = 1, .d = 32, .capacity = 520, .tokens = length,
         .activation = kFloat32, .cache = kFloat32});
  }
  add({.name = "long_decode", .reason = "context above 2048, split keys", .q_heads = 4,
       .kv_heads = 1, .d = 128, .capacity = 8200, .histories = {8190}});
  add({.name = "full_decode", .reason = "capacity exactly full", .batch = 2, .capacity = 96,
       .histories = {95, 94}});
  add({.name = "full_chunk", .reason = "capacity exactly full", .mode = kChunkedPrefill, .batch = 2,
       .capacity = 96, .tokens = 32, .histories = {64, 66}, .lengths = {32, 30}});
  add({.name = "full_prefill", .reason = "capacity exactly full", .mode = kPrefill, .capacity = 50,
       .tokens = 50});
  add({.name = "full_tree", .reason = "capacity exactly full", .mode = kTreeDecode, .capacity = 96,
       .tokens = 33, .histories = {63}});

  // Ragged batches; lanes without work; S equal to the group.
  add({.name = "ragged_prefill", .reason = "ragged, one lane empty", .mode = kPrefill, .batch = 4,
       .capacity = 200, .tokens = 150, .lengths = {150, 0, 1, 77}});
  add({.name = "ragged_chunk", .reason = "ragged chunked prefill", .mode = kChunkedPrefill,
       .batch = 4, .q_heads = 10, .capacity = 200, .tokens = 40, .histories = {160, 5, 0, 100},
       .lengths = {40, 13, 0, 1}});
  add({.name = "ragged_decode", .reason = "lane left out", .batch = 3, .capacity = 70,
       .histories = {69, 11, 0}, .lengths = {1, 0, 1}});
  add({.name = "ragged_tree", .reason = "trees of a batch at their own lengths",
       .mode = kTreeDecode, .batch = 3, .capacity = 300, .tokens = 37,
       .histories = {0, 263, 100}, .mask = MaskKind::kTree});
  add({.name = "group_sized_chunk", .reason = "S equal to the group", .mode = kChunkedPrefill,
       .q_heads = 8, .kv_heads = 2, .capacity = 64, .tokens = 4});
  add({.name = "group_sized_tree", .reason = "S equal to the group", .mode = kTreeDecode,
       .q_heads = 8, .kv_heads = 2, .capacity = 64, .tokens = 4});
  add({.name = "remainder", .reason = "one-token rest of a chunked prefill", .batch = 2,
       .capacity = 64, .histories = {33, 1}, .remainder = true});

  // Attributes.
  const AttentionCase kOptions[] = {
      {.name = "window", .reason = "sliding window", .window = 7},
      {.name = "window_1", .reason = "window of one: only itself", .window = 1},
      {.name = "window_wide", .reason = "window beyond the context", .window = 4096},
      {.name = "softcap", .reason = "softcap", .softcap = 5, .range = 4},
      {.name = "scale", .reason = "own scale", .scale = 0.4f},
      {.name = "norm", .reason = "Q/K norm", .norm = true},
      {.name = "all", .reason = "all options at once", .rotary = 20, .window = 30, .scale = 0.3f,
       .softcap = 3, .norm = true, .lane_rope = true, .separate_past = true},
      {.name = "separate_past", .reason = "past in another buffer", .separate_past = true},
      {.name = "rotary_2", .reason = "narrowest rotary width", .rotary = 2},
  };
  for (AttentionCase option : kOptions) {
    option.batch = 2;
    option.capacity = 120;
    option.activation = kFloat32;
    const std::string name = option.name;
    for (AttentionMode mode : {kDecode, kChunkedPrefill, kTreeDecode}) {
      option.name = name;
      option.mode = mode;
      option.tokens = mode == kDecode ? 1 : 35;
      option.tree_padding = mode == kTreeDecode ? 3 : 0;
      add(option);
    }
  }

  // Exact content: masks show as counts, selections as equality.
  for (DataType type : {kFloat32, kFloat16}) {
    for (std::int32_t window : {-1, 20}) {
      const AttentionCase uniform{.name = "uniform", .reason = "mask by counting", .batch = 2,
                                  .capacity = 150, .tokens = 41, .activation = type, .cache = type,
                                  .window = window, .content = Content::kUniform};
      for (AttentionMode mode : {kPrefill, kDecode, kChunkedPrefill, kTreeDecode}) {
        AttentionCase c = uniform;
        c.mode = mode;
        c.tokens = mode == kDecode ? 1 : 41;
        c.tree_padding = mode == kTreeDecode ? 2 : 0;
        add(c);
      }
    }
    add({.name = "one_hot", .reason = "selection by softmax", .mode = kPrefill, .q_heads = 12,
         .d = 64, .capacity = 64, .tokens = 64, .activation = type, .cache = type, .scale = 16,
         .content = Content::kOneHot});
    add({.name = "one_hot", .reason = "selection by softmax", .d = 64, .capacity = 64,
         .histories = {57}, .activation = type, .cache = type, .scale = 16,
         .content = Content::kOneHot});
  }
  return cases;
}

// clang-format on

}  // namespace dovetail::test_support
