// SPDX-License-Identifier: Apache-2.0
#include "runtime/step_tensors.h"

#include <algorithm>
#include <iterator>

#include "ops/message.h"
#include "runtime/graph_names.h"

namespace dovetail {
namespace {

Status check_names(const std::filesystem::path& file, const char* kind,
                   std::vector<std::string> expected, std::vector<std::string> actual) {
  std::sort(expected.begin(), expected.end());
  std::sort(actual.begin(), actual.end());
  std::vector<std::string> difference;
  std::set_difference(expected.begin(), expected.end(), actual.begin(), actual.end(),
                      std::back_inserter(difference));
  const bool missing = !difference.empty();
  std::set_difference(actual.begin(), actual.end(), expected.begin(), expected.end(),
                      std::back_inserter(difference));
  if (difference.empty()) {
    return Status::success();
  }
  return data_loss(file.string(),
                   missing ? ": the graph lacks the " : ": the graph has an unknown ", kind, " ",
                   difference.front(), ", see docs/package.md");
}

}  // namespace

Status check_graph_names(const Manifest& manifest, const std::filesystem::path& file,
                         std::vector<std::string> inputs, std::vector<std::string> outputs) {
  std::vector<std::string> expected_inputs = {graph::kInputsEmbeds, graph::kRope,
                                              graph::kContextLengths, graph::kLastTokenIds,
                                              graph::kCacheStartIndex};
  std::vector<std::string> expected_outputs = {graph::kLogits};
  if (manifest.tree) {
    expected_inputs.insert(expected_inputs.end(), {graph::kAttentionMask, graph::kAttentionPosId});
  }
  for (std::int64_t layer = 0; layer < manifest.model.layers; ++layer) {
    expected_inputs.push_back(graph::past(layer));
    expected_outputs.push_back(graph::present(layer));
  }
  DOVETAIL_RETURN_IF_ERROR(
      check_names(file, "input", std::move(expected_inputs), std::move(inputs)));
  return check_names(file, "output", std::move(expected_outputs), std::move(outputs));
}

int profile_of(const Step& s) {
  const bool generation =
      s.kvcache_start_index != nullptr && (s.tokens == 1 || s.attention_mask != nullptr);
  return generation ? 1 : 0;
}

Status check_profiles(const std::filesystem::path& file, int profiles) {
  if (profiles != kProfiles) {
    return data_loss(file.string(), " has ", profiles, " optimisation profiles, expected the ",
                     kProfiles, " of `dovetail build`");
  }
  return Status::success();
}

Shape cache_shape(const Manifest& m, std::int64_t batch) {
  return {batch, 2, m.model.num_kv_heads, m.capacity, m.model.head_size};
}

std::vector<HostTensor> StepTensors::inputs(const Step& s) const {
  constexpr DataType kI32 = DataType::kInt32;
  const bool empty = s.kvcache_start_index == nullptr;
  std::vector<HostTensor> tensors = {
      {graph::kInputsEmbeds,
       manifest_.activation_type,
       {s.batch, s.tokens, manifest_.model.hidden_size},
       s.inputs_embeds},
      {graph::kContextLengths, kI32, {s.batch}, s.context_lengths},
      {graph::kLastTokenIds, DataType::kInt64, {s.batch, s.logit_rows}, s.last_token_ids},
      {graph::kCacheStartIndex,
       kI32,
       {empty ? 0 : s.batch},
       empty ? zeros_.data() : s.kvcache_start_index},
  };
  if (manifest_.tree) {
    const bool has_mask = s.attention_mask != nullptr;
    const bool has_positions = s.attention_pos_id != nullptr;
    tensors.push_back(
        {graph::kAttentionMask, kI32,
         has_mask ? Shape{s.batch, s.tokens, (s.tokens + 31) / 32} : Shape{s.batch, 1, 1},
         has_mask ? s.attention_mask : zeros_.data()});
    tensors.push_back({graph::kAttentionPosId,
                       kI32,
                       {s.batch, has_positions ? s.tokens : 1},
                       has_positions ? s.attention_pos_id : zeros_.data()});
  }
  return tensors;
}

Shape StepTensors::logits_shape(const Step& s) const {
  return {s.batch, s.logit_rows, manifest_.model.vocab_size};
}

}  // namespace dovetail
