// SPDX-License-Identifier: Apache-2.0
#include "ops/attention.h"

#include <cmath>

#include "ops/attribute_binding.h"
#include "ops/message.h"
#include "ops/output_rule.h"

namespace dovetail {
namespace {

using A = AttentionAttributes;
constexpr AttributeBinding<A> kBindings[] = {
    {"num_q_heads", &A::num_q_heads},
    {"num_kv_heads", &A::num_kv_heads},
    {"head_size", &A::head_size},
    {"enable_tree_attention", &A::enable_tree_attention},
    {"enable_fp8_kv_cache", &A::enable_fp8_kv_cache},
    {"sliding_window_size", &A::sliding_window_size},
    {"attention_scale", &A::attention_scale},
    {"logit_softcap", &A::logit_softcap},
    {"enable_qk_norm", &A::enable_qk_norm},
    {"rms_norm_eps", &A::rms_norm_eps},
};

constexpr std::uint32_t kActivation =
    types(DataType::kFloat32, DataType::kFloat16, DataType::kBFloat16);
constexpr std::uint32_t kCache =
    types(DataType::kFloat32, DataType::kFloat16, DataType::kBFloat16, DataType::kFloat8E4M3);
constexpr std::uint32_t kInt = types(DataType::kInt32);
constexpr std::uint32_t kFloat = types(DataType::kFloat32);

AttributeSpec integer(const char* name, std::int64_t fallback, double minimum, const char* doc) {
  return {name, AttributeType::kInt, false, fallback, {}, minimum, doc};
}
AttributeSpec required(const char* name, double minimum, const char* doc) {
  return {name, AttributeType::kInt, true, std::int64_t{0}, {}, minimum, doc};
}
AttributeSpec real(const char* name, double fallback, const char* doc) {
  return {name, AttributeType::kFloat, false, fallback, {}, 0.0, doc};
}

OpSchema make_schema() {
  return {
      .name = "AttentionPlugin",
      .version = "1",
      .domain = "trt",
      .prefix = "attention",
      .doc = "RoPE, in-place KV-cache write and attention over the cache in one call.",
      .attributes =
          {required("num_q_heads", 1, "query heads Hq"),
           required("num_kv_heads", 1, "KV heads Hk; divides Hq"),
           required("head_size", 1, "head size D"),
           required("enable_tree_attention", 0,
                    "1: the inputs attention_mask and attention_pos_id are present"),
           integer("enable_fp8_kv_cache", 0, 0, "1: E4M3 cache; the input kv_scales is present"),
           integer("sliding_window_size", -1, -1,
                   "a token sees positions greater than its own minus the window; -1: all"),
           real("attention_scale", 0.0, "factor on the scores; 0: 1/sqrt(D)"),
           real("logit_softcap", 0.0, "score = cap * tanh(score / cap); 0: off"),
           integer("enable_qk_norm", 0, 0,
                   "1: RMSNorm per head on Q and K before RoPE; the inputs q_norm_weight and "
                   "k_norm_weight are present"),
           real("rms_norm_eps", 1e-6, "epsilon of the Q/K norm")},
      .inputs =
          {{"qkv", kActivation, "[B, S, (Hq+2*Hk)*D]", "",
            "per token: all Q heads, then all K heads, then all V heads"},
           {"kv_cache", kCache, "[B, 2, Hk, C, D]", "", "dimension 1: K, V; C is the capacity"},
           {"context_lengths", kInt, "[B]", "",
            "prefill: new tokens of this call; decode and tree: total length, this call included"},
           {"rope_rotary_cos_sin", kFloat, "[1 or B, >=C, R]", "",
            "row = position; first R/2 values cosines, last R/2 sines"},
           {"kvcache_start_index", kInt, "[B] or [0]", "",
            "tokens already in each lane; zero length: all lanes are empty"},
           {"attention_mask", kInt, "[B, S, ceil(S/32)]", "enable_tree_attention",
            "bit j%32 of word j/32: the token sees tree token j; not read in prefill and decode"},
           {"attention_pos_id", kInt, "[B, S] or [B, 1]", "enable_tree_attention",
            "RoPE position of each token, -1 for padding; width 1 with S > 1: chunked prefill"},
           {"kv_scales", kFloat, "[2]", "enable_fp8_kv_cache",
            "{K, V}: real value = E4M3 value * scale"},
           {"q_norm_weight", kActivation, "[D]", "enable_qk_norm", "RMSNorm weight of Q"},
           {"k_norm_weight", kActivation, "[D]", "enable_qk_norm", "RMSNorm weight of K"}},
      .outputs = {{"attention", kActivation, "[B, S, Hq, D]", "",
                   "activation type; rows of padding tokens are zero"},
                  {"present_kv_cache", kCache, "[B, 2, Hk, C, D]", "",
                   "kv_cache with the new tokens; the same memory where the engine allows"}},
      .aliases = {{1, 1}},
  };
}

// Reads the described shapes in declaration order; absent inputs give nullptr.
struct Inputs {
  std::span<const TensorDesc> tensors;
  AttentionInputMap map;

  const TensorDesc* find(AttentionInput input) const {
    const int position = map[input];
    return position < 0 ? nullptr : &tensors[static_cast<std::size_t>(position)];
  }
};

const TensorSpec& spec_of(AttentionInput input) {
  return attention_schema().inputs[static_cast<std::size_t>(input)];
}

Status expect(AttentionInput input, const Inputs& inputs, const Shape& expected) {
  const TensorDesc* tensor = inputs.find(input);
  if (tensor != nullptr && !may_equal(tensor->shape, expected)) {
    return wrong_shape(attention_schema(), spec_of(input), tensor->shape, expected);
  }
  return Status::success();
}

constexpr int kRanks[kAttentionInputs] = {3, 5, 1, 3, 1, 3, 2, 1, 1, 1};

Status check_cache_type(const AttentionAttributes& attributes, DataType type) {
  const bool fp8 = attributes.enable_fp8_kv_cache != 0;
  if ((type == DataType::kFloat8E4M3) != fp8 || (kCache & type_bit(type)) == 0) {
    return invalid_argument("attention: kv_cache is ", type, ", expected ",
                            fp8 ? "fp8_e4m3" : type_list(kActivation),
                            " with enable_fp8_kv_cache = ", attributes.enable_fp8_kv_cache);
  }
  return Status::success();
}

// Section 1.4 of the contract: only shapes decide.
Result<AttentionMode> mode_of(const Inputs& inputs, std::int64_t tokens) {
  const TensorDesc& start = *inputs.find(AttentionInput::kKvStartIndex);
  if (start.shape[0] == 0) {
    return AttentionMode::kPrefill;
  }
  if (tokens == 1) {
    return AttentionMode::kDecode;
  }
  const TensorDesc* position_ids = inputs.find(AttentionInput::kAttentionPosId);
  if (position_ids == nullptr || position_ids->shape[1] == 1) {
    return AttentionMode::kChunkedPrefill;
  }
  if (position_ids->shape[1] == tokens) {
    return AttentionMode::kTreeDecode;
  }
  return invalid_argument(
      "attention: attention_pos_id is ", position_ids->shape,
      ", expected [B, S] (tree decode) or [B, 1] (chunked prefill) with S = ", tokens);
}

}  // namespace

const char* name_of(AttentionMode mode) {
  switch (mode) {
    case AttentionMode::kPrefill:
      return "prefill";
    case AttentionMode::kChunkedPrefill:
      return "chunked prefill";
    case AttentionMode::kDecode:
      return "decode";
    case AttentionMode::kTreeDecode:
      return "tree decode";
  }
  return "unknown";
}

const OpSchema& attention_schema() {
  static const OpSchema schema = make_schema();
  return schema;
}

Result<AttentionAttributes> parse_attention_attributes(std::span<const Attribute> given) {
  Result<A> parsed = parse_attributes<A>(attention_schema(), kBindings, given);
  if (parsed.ok()) {
    DOVETAIL_RETURN_IF_ERROR(validate(*parsed));
  }
  return parsed;
}

std::vector<Attribute> list_attributes(const AttentionAttributes& attributes) {
  return list_attributes<A>(attention_schema(), kBindings, attributes);
}

AttentionInputMap attention_inputs(const AttentionAttributes& attributes) {
  const std::vector<int> positions =
      input_positions(attention_schema(), [&](std::string_view group) {
        return group == "enable_tree_attention" ? attributes.enable_tree_attention != 0
               : group == "enable_fp8_kv_cache" ? attributes.enable_fp8_kv_cache != 0
                                                : attributes.enable_qk_norm != 0;
      });
  AttentionInputMap map{};
  for (int i = 0; i < kAttentionInputs; ++i) {
    map.position[i] = positions[static_cast<std::size_t>(i)];
    map.count += map.position[i] >= 0;
  }
  return map;
}

AttentionBuffers attention_buffers(const AttentionInputMap& map, const void* const* inputs,
                                   void* const* outputs, void* workspace) {
  using In = AttentionInput;
  const auto at = [&](In input) { return map[input] < 0 ? nullptr : inputs[map[input]]; };
  const auto ints = [&](In input) { return static_cast<const std::int32_t*>(at(input)); };
  const auto floats = [&](In input) { return static_cast<const float*>(at(input)); };
  return {.qkv = at(In::kQkv),
          .past_kv_cache = at(In::kKvCache),
          .kv_cache = outputs[1],
          .context_lengths = ints(In::kContextLengths),
          .rope_cos_sin = floats(In::kRopeCosSin),
          .kv_start_index = ints(In::kKvStartIndex),
          .attention_mask = ints(In::kAttentionMask),
          .attention_pos_id = ints(In::kAttentionPosId),
          .kv_scales = floats(In::kKvScales),
          .q_norm_weight = at(In::kQNormWeight),
          .k_norm_weight = at(In::kKNormWeight),
          .output = outputs[0],
          .workspace = workspace};
}

void settle_profile_bounds(const AttentionAttributes& attributes, std::span<TensorDesc> inputs) {
  const AttentionInputMap map = attention_inputs(attributes);
  const int mask = map[AttentionInput::kAttentionMask];
  if (mask < 0 || static_cast<int>(inputs.size()) != map.count) {
    return;
  }
  const Shape& qkv = inputs[0].shape;
  Shape& words = inputs[static_cast<std::size_t>(mask)].shape;
  if (qkv.rank() == 3 && words.rank() == 3 && words[2] > (qkv[1] + 31) / 32) {
    words = {words[0], words[1], (qkv[1] + 31) / 32};
  }
}

Status validate(const AttentionAttributes& a) {
  if (a.num_q_heads < 1 || a.num_kv_heads < 1 || a.num_q_heads % a.num_kv_heads != 0) {
    return invalid_argument("attention: num_q_heads is ", a.num_q_heads,
                            ", expected a positive multiple of num_kv_heads = ", a.num_kv_heads);
  }
  if (a.head_size < 1 || a.head_size % 8 != 0 || a.head_size > 256) {
    return unsupported("attention: head_size is ", a.head_size,
                       ", expected a multiple of 8 up to 256");
  }
  for (const auto& [name, flag] : {std::pair("enable_tree_attention", a.enable_tree_attention),
                                   std::pair("enable_fp8_kv_cache", a.enable_fp8_kv_cache),
                                   std::pair("enable_qk_norm", a.enable_qk_norm)}) {
    if (flag != 0 && flag != 1) {
      return invalid_argument("attention: attribute ", name, " is ", flag, ", expected 0 or 1");
    }
  }
  if (a.sliding_window_size == 0 || a.sliding_window_size < -1) {
    return invalid_argument("attention: attribute sliding_window_size is ", a.sliding_window_size,
                            ", expected -1 (off) or at least 1");
  }
  for (const auto& [name, value] :
       {std::pair("attention_scale", a.attention_scale),
        std::pair("logit_softcap", a.logit_softcap), std::pair("rms_norm_eps", a.rms_norm_eps)}) {
    if (!(value >= 0.0f) || !std::isfinite(value)) {
      return invalid_argument("attention: attribute ", name, " is ", value,
                              ", expected a finite number of at least 0");
    }
  }
  return Status::success();
}

float softmax_scale(const AttentionAttributes& attributes) {
  return attributes.attention_scale > 0.0f
             ? attributes.attention_scale
             : 1.0f / std::sqrt(static_cast<float>(attributes.head_size));
}

Shape attention_output_shape(const AttentionProblem& p) {
  return {p.batch, p.tokens, p.attributes.num_q_heads, p.attributes.head_size};
}

Status check_attention_inputs(const AttentionAttributes& attributes,
                              std::span<const TensorDesc> tensors) {
  DOVETAIL_RETURN_IF_ERROR(validate(attributes));
  const OpSchema& schema = attention_schema();
  const Inputs inputs{tensors, attention_inputs(attributes)};
  if (static_cast<int>(tensors.size()) != inputs.map.count) {
    return invalid_argument("attention: ", tensors.size(), " inputs, expected ", inputs.map.count,
                            " with enable_tree_attention = ", attributes.enable_tree_attention,
                            ", enable_fp8_kv_cache = ", attributes.enable_fp8_kv_cache,
                            ", enable_qk_norm = ", attributes.enable_qk_norm);
  }
  for (int i = 0; i < kAttentionInputs; ++i) {
    const auto input = static_cast<AttentionInput>(i);
    if (const TensorDesc* tensor = inputs.find(input)) {
      DOVETAIL_RETURN_IF_ERROR(check_type(schema, spec_of(input), tensor->type));
      if (tensor->shape.rank() != 0) {
        DOVETAIL_RETURN_IF_ERROR(check_rank(schema, spec_of(input), tensor->shape, kRanks[i]));
      }
    }
  }
  const TensorDesc& qkv = *inputs.find(AttentionInput::kQkv);
  const TensorDesc& cache = *inputs.find(AttentionInput::kKvCache);
  const std::int64_t b = known_dim(qkv, 0);
  const std::int64_t d = attributes.head_size;
  const std::int64_t heads = attributes.num_q_heads + 2 * attributes.num_kv_heads;
  using In = AttentionInput;
  DOVETAIL_RETURN_IF_ERROR(expect(In::kQkv, inputs, {b, known_dim(qkv, 1), heads * d}));
  DOVETAIL_RETURN_IF_ERROR(
      expect(In::kKvCache, inputs, {b, 2, attributes.num_kv_heads, known_dim(cache, 3), d}));
  DOVETAIL_RETURN_IF_ERROR(expect(In::kContextLengths, inputs, {b}));
  if (known_dim(*inputs.find(In::kKvStartIndex), 0) != 0) {
    DOVETAIL_RETURN_IF_ERROR(expect(In::kKvStartIndex, inputs, {b}));
  }
  DOVETAIL_RETURN_IF_ERROR(expect(In::kKvScales, inputs, {2}));
  DOVETAIL_RETURN_IF_ERROR(expect(In::kQNormWeight, inputs, {d}));
  DOVETAIL_RETURN_IF_ERROR(expect(In::kKNormWeight, inputs, {d}));
  for (In norm : {In::kQNormWeight, In::kKNormWeight}) {
    const TensorDesc* weight = inputs.find(norm);
    if (weight != nullptr && weight->type != qkv.type) {
      return invalid_argument("attention: ", spec_of(norm).name, " is ", weight->type,
                              ", expected the type of qkv, ", qkv.type);
    }
  }
  if (const TensorDesc* ids = inputs.find(In::kAttentionPosId)) {
    DOVETAIL_RETURN_IF_ERROR(expect(In::kAttentionPosId, inputs, {b, known_dim(*ids, 1)}));
  }
  return check_cache_type(attributes, cache.type);
}

Result<AttentionProblem> describe_attention(const AttentionAttributes& attributes,
                                            std::span<const TensorDesc> tensors) {
  DOVETAIL_RETURN_IF_ERROR(check_attention_inputs(attributes, tensors));
  const Inputs inputs{tensors, attention_inputs(attributes)};
  for (int i = 0; i < kAttentionInputs; ++i) {
    const auto input = static_cast<AttentionInput>(i);
    if (const TensorDesc* tensor = inputs.find(input)) {
      DOVETAIL_RETURN_IF_ERROR(
          check_rank(attention_schema(), spec_of(input), tensor->shape, kRanks[i]));
    }
  }
  const TensorDesc& qkv = *inputs.find(AttentionInput::kQkv);
  const TensorDesc& cache = *inputs.find(AttentionInput::kKvCache);
  const TensorDesc& rope = *inputs.find(AttentionInput::kRopeCosSin);
  AttentionProblem problem{
      .attributes = attributes,
      .activation_type = qkv.type,
      .cache_type = cache.type,
      .batch = qkv.shape[0],
      .tokens = qkv.shape[1],
      .capacity = cache.shape[3],
      .rope_batch = rope.shape[0],
      .rope_rows = rope.shape[1],
      .rotary_width = rope.shape[2],
  };
  Result<AttentionMode> mode = mode_of(inputs, problem.tokens);
  if (!mode.ok()) {
    return mode.status();
  }
  problem.mode = *mode;
  if (problem.mode == AttentionMode::kTreeDecode) {
    DOVETAIL_RETURN_IF_ERROR(expect(AttentionInput::kAttentionMask, inputs,
                                    {problem.batch, problem.tokens, (problem.tokens + 31) / 32}));
  }
  DOVETAIL_RETURN_IF_ERROR(validate(problem));
  return problem;
}

Status validate(const AttentionProblem& p) {
  DOVETAIL_RETURN_IF_ERROR(validate(p.attributes));
  const std::int64_t d = p.attributes.head_size;
  if ((kActivation & type_bit(p.activation_type)) == 0) {
    return invalid_argument("attention: qkv is ", p.activation_type, ", expected ",
                            type_list(kActivation));
  }
  DOVETAIL_RETURN_IF_ERROR(check_cache_type(p.attributes, p.cache_type));
  if (p.batch < 0 || p.tokens < 0 || p.capacity < 0) {
    return invalid_argument("attention: batch ", p.batch, ", tokens ", p.tokens, ", capacity ",
                            p.capacity, ", expected none negative");
  }
  if (p.mode == AttentionMode::kDecode && p.tokens != 1) {
    return invalid_argument("attention: decode brings ", p.tokens, " tokens, expected 1");
  }
  if (p.rope_batch != 1 && p.rope_batch != p.batch) {
    return invalid_argument("attention: rope_rotary_cos_sin holds ", p.rope_batch,
                            " tables, expected 1 or B = ", p.batch);
  }
  if (p.rotary_width < 2 || p.rotary_width % 2 != 0 || p.rotary_width > d) {
    return invalid_argument("attention: rope_rotary_cos_sin has width ", p.rotary_width,
                            ", expected an even number from 2 to D = ", d);
  }
  if (p.rope_rows < p.capacity) {
    return invalid_argument("attention: rope_rotary_cos_sin has ", p.rope_rows,
                            " rows, expected at least the capacity C = ", p.capacity);
  }
  if (p.attributes.enable_tree_attention == 0 && p.mode == AttentionMode::kTreeDecode) {
    return invalid_argument("attention: tree decode, expected enable_tree_attention = 1");
  }
  return Status::success();
}

Cost attention_cost(const AttentionProblem& p, std::int64_t history) {
  const double b = static_cast<double>(p.batch);
  const double s = static_cast<double>(p.tokens);
  const double h = static_cast<double>(history);
  const double d = p.attributes.head_size;
  const double q_heads = p.attributes.num_q_heads;
  const double kv_heads = p.attributes.num_kv_heads;
  const double window =
      p.attributes.sliding_window_size > 0 ? p.attributes.sliding_window_size : 1e30;
  const double mean_keys = std::min(window, h + (s + 1) / 2);
  const double keys_read = std::min(window + s, h + s);
  const double act = static_cast<double>(size_of(p.activation_type));
  const double cache = static_cast<double>(size_of(p.cache_type));
  return {.flops = 4 * b * q_heads * s * mean_keys * d,
          .bytes = b * s * (2 * q_heads + 2 * kv_heads) * d * act +
                   2 * b * kv_heads * d * cache * (keys_read + s)};
}

}  // namespace dovetail
