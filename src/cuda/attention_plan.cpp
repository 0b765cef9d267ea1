// SPDX-License-Identifier: Apache-2.0
#include "cuda/attention_plan.h"

#include <algorithm>
#include <limits>

#include "layout/rounding.h"
#include "ops/attention.h"
#include "ops/message.h"

namespace dovetail::cuda {
namespace {

constexpr std::int64_t kMost = std::numeric_limits<std::int32_t>::max();
constexpr std::int64_t kMostGridYZ = 65535;

int cache_bytes(const AttentionProblem& p) {
  return static_cast<int>(size_of(p.cache_type));
}

Status check_supported(const AttentionProblem& p, const CudaDevice& device) {
  if (device.compute_capability < 80) {
    return unsupported("attention: the device is sm_", device.compute_capability,
                       ", expected sm_80 or later");
  }
  if (p.activation_type != DataType::kFloat16 && p.activation_type != DataType::kBFloat16) {
    return unsupported("attention: qkv is ", p.activation_type, ", expected fp16 or bf16 on CUDA");
  }
  if (p.cache_type != p.activation_type && p.cache_type != DataType::kFloat8E4M3) {
    return unsupported("attention: kv_cache is ", p.cache_type, ", expected ", p.activation_type,
                       " (the type of qkv) or fp8_e4m3 on CUDA");
  }
  if (p.cache_type == DataType::kFloat8E4M3 && p.attributes.head_size % 16 != 0) {
    return unsupported("attention: head_size is ", p.attributes.head_size,
                       ", expected a multiple of 16 with an fp8_e4m3 cache on CUDA");
  }
  const std::int64_t heads = p.attributes.num_q_heads + 2 * p.attributes.num_kv_heads;
  if (p.capacity > kMost || p.tokens > kMost / std::max<std::int64_t>(heads, 1)) {
    return unsupported("attention: capacity ", p.capacity, ", tokens ", p.tokens, ", heads ", heads,
                       ", expected capacity and tokens * heads below 2^31 on CUDA");
  }
  if (p.batch > kMost / std::max<std::int64_t>(p.tokens, 1)) {
    return unsupported("attention: qkv has ", p.batch, " x ", p.tokens,
                       " tokens, expected fewer than 2^31 on CUDA");
  }
  if (p.batch > kMostGridYZ || 2 * p.attributes.num_kv_heads > kMostGridYZ) {
    return unsupported("attention: batch ", p.batch, ", num_kv_heads ", p.attributes.num_kv_heads,
                       ", expected at most ", kMostGridYZ, " and ", kMostGridYZ / 2, " on CUDA");
  }
  return Status::success();
}

// One new token a lane: attention_decode is the whole call.
bool is_fused(const AttentionProblem& p) {
  return p.tokens == 1 && p.mode != AttentionMode::kTreeDecode && p.rotary_width % 16 == 0 &&
         p.attributes.num_q_heads / p.attributes.num_kv_heads <= 16;
}
std::int64_t items_of(const AttentionProblem& p) {
  return p.batch * p.attributes.num_kv_heads;
}

// All these blocks run at once, each on a multiprocessor of its own, if they are clusters: their
// places leave up to an eighth of the multiprocessors over.
bool fits_in_clusters(std::int64_t blocks, const CudaDevice& device) {
  return device.compute_capability >= 90 && blocks * 8 <= device.multiprocessors * std::int64_t{7};
}

// Blocks that a multiprocessor holds at once. It has 1 KB more shared memory than one block may
// use, and keeps 1 KB of every block for itself.
int resident_blocks(const AttentionTile& t, int shared, const CudaDevice& device) {
  const int by_memory =
      (device.shared_memory_bytes + 1024) / (shared + static_shared_bytes(t) + 1024);
  return std::clamp(by_memory, 1, t.resident_blocks());
}

// Warps of 32 rows read half the shared memory for a product, but a block has half the warps: worth
// it with two blocks a multiprocessor, and rows for three of each (H100, mma.sync forced, 8,192
// tokens of 14/2/64 491 us against 627, of 32/8/128 2,006 against 2,260, but 2,048 tokens 250
// against 231).
bool fits_wide_warps(const AttentionProblem& p, const AttentionTile& t, std::int64_t rows,
                     const CudaDevice& device) {
  const std::int64_t blocks = divide_up(rows, t.rows()) * items_of(p);
  return cache_bytes(p) > 1 && resident_blocks(t, shared_bytes(t, cache_bytes(p)), device) >= 2 &&
         blocks >= 6 * device.multiprocessors;
}

// The narrowest head size that holds D; of its tiles the first with enough rows, among those that
// fit shared memory. -1: none fits.
int choose_tile(const AttentionProblem& p, std::int64_t rows, const CudaDevice& device) {
  int best = -1;
  for (int i = 0; i < kAttentionTileCount; ++i) {
    const AttentionTile& t = kAttentionTiles[i];
    if (t.head_size < p.attributes.head_size) continue;
    if (best >= 0 && t.head_size > kAttentionTiles[best].head_size) break;
    // Twice the warps where blocks are few.
    if (t.key_warps == 8 && !(is_fused(p) && fits_in_clusters(8 * items_of(p), device))) continue;
    if (shared_bytes(t, cache_bytes(p)) + static_shared_bytes(t) > device.shared_memory_bytes)
      continue;
    if (t.row_tiles > 1 && !fits_wide_warps(p, t, rows, device)) continue;
    if (t.stage_kb > 48 && resident_blocks(t, shared_bytes(t, cache_bytes(p)), device) <
                               std::min(2, t.resident_blocks())) {
      continue;
    }
    if (best < 0 || t.rows() > kAttentionTiles[best].rows() || t.row_tiles > 1) best = i;
    if (t.rows() >= rows) break;
  }
  return best;
}

// The wgmma tile, or -1: sm_90 alone, exact head sizes, a cache of the activation's type. Row
// blocks that fill the GPU keep their keys whole; fewer, and trees, take a tile that splits them.
int choose_wgmma(const AttentionProblem& p, std::int64_t rows, const CudaDevice& device) {
  using enum AttentionMode;
  if (device.compute_capability != 90 || p.cache_type != p.activation_type ||
      p.rotary_width % 16 != 0 || rows <= 16) {
    return -1;
  }
  int whole = -1, split = -1;
  for (int i = 0; i < kAttentionWgmmaTileCount; ++i) {
    const AttentionWgmmaTile& t = kAttentionWgmmaTiles[i];
    if (t.head_size != p.attributes.head_size ||
        t.shared_bytes() + t.rows() * 12 + 128 > device.shared_memory_bytes) {
      continue;
    }
    const std::int64_t blocks = divide_up(rows, t.rows()) * items_of(p);
    const bool fills = blocks >= device.multiprocessors * t.resident;
    if (t.splits) {
      if (p.mode == kTreeDecode && !t.trees()) continue;
      if (split < 0 || rows > kAttentionWgmmaTiles[split].rows()) split = i;
    } else if (rows >= t.rows() && p.mode != kTreeDecode) {
      const bool one_wave =
          p.mode == kPrefill || 4 * blocks >= 3 * device.multiprocessors * t.resident;
      if (fills || (whole < 0 && one_wave)) whole = i;
    }
  }
  return whole >= 0 || p.mode == kPrefill ? whole : split;
}

// As many splits as fill the GPU once: `items` blocks a split on `slots` places. A second wave
// would need shorter splits than one does; workspace_bound relies on splits growing with the device
// and with the capacity.
int choose_splits(std::int64_t items, std::int64_t slots, std::int64_t most) {
  const auto splits = std::clamp<std::int64_t>(slots / std::max<std::int64_t>(items, 1), 1,
                                               std::clamp<std::int64_t>(most, 1, kMostSplits));
  // An eighth of them at most is given up for whole batches of the fold.
  const std::int64_t over = splits > kFoldBatch ? splits % kFoldBatch : 0;
  return static_cast<int>(8 * over <= splits ? splits - over : splits);
}

// One token on a GPU with clusters: the blocks of a cluster are the splits of one KV head of one lane
// and fold them in shared memory, without a counter and the workspace. More than 8 blocks are a
// promise of sm_90 alone; an H100 has 7 places for 16. 64 of its 132 multiprocessors read at 95% of
// the speed of all (8k keys, 32/8/128: 13.1 us against 12.4), and a second fold costs more than the
// rest. Where that leaves most of the GPU idle there are more clusters, which long lanes use
// (attention_range.cuh). Clusters of 4 that need all multiprocessors find no place each, pairs do
// (28/4/128, 8 lanes of 32k: 191 us with clusters of 4, 184 with one pair a lane and head).
void choose_clusters(AttentionSchedule& s, std::int64_t keys, const CudaDevice& device) {
  const AttentionTile& t = kAttentionTiles[s.tile];
  const std::int64_t items = items_of(s.problem), tiles = divide_up(keys, t.keys);
  const int group = s.problem.attributes.num_q_heads / s.problem.attributes.num_kv_heads;
  int shift = device.compute_capability == 90 && fits_in_clusters(16 * items, device) ? 4 : 3;
  while (shift > 0 && (items << shift > device.multiprocessors || tiles <= 1 << (shift - 1) ||
                       (shift == 2 && !fits_in_clusters(4 * items, device)))) {
    --shift;
  }
  const int cluster = 1 << shift, box = decode_box_bytes(t, group, cluster);
  if (cluster == 1 || s.shared_bytes + box + static_shared_bytes(t) > device.shared_memory_bytes) {
    return;
  }
  const auto fits = [&](std::int64_t blocks) {
    return cluster == 2 ? blocks <= device.multiprocessors : fits_in_clusters(blocks, device);
  };
  const int most = s.splits;
  s.cluster_shift = shift;
  s.shared_bytes += box;
  s.splits = cluster;
  while (s.splits + cluster <= most && fits((s.splits + cluster) * items)) s.splits += cluster;
}

// Whether the row blocks of all heads run in one order, those with the most keys first, instead of
// head after head: then no long block is left for the end. In the first four waves of a prompt that
// is worth up to 17% (H100, 32/8/128, us: 1,024 tokens 35.3 against 42.2, 2,048 94.2 against 101.5);
// beyond, and with few heads, blocks of one head that share their keys are worth more (4,096 tokens
// 288 against 277, 2,048 tokens of 28/4/128 82.0 against 80.0).
bool heads_first(const AttentionSchedule& s, const CudaDevice& device) {
  const AttentionProblem& p = s.problem;
  if (p.mode != AttentionMode::kPrefill || s.wgmma < 0 || p.attributes.num_kv_heads < 8)
    return false;
  const AttentionWgmmaTile& t = kAttentionWgmmaTiles[s.wgmma];
  return !t.splits && s.row_blocks <= kMostGridYZ &&
         5 * s.row_blocks * items_of(p) < 21 * device.multiprocessors * t.resident;
}

int rows_of(const AttentionSchedule& s) {
  return s.wgmma < 0 ? kAttentionTiles[s.tile].rows() : kAttentionWgmmaTiles[s.wgmma].rows();
}

AttentionWorkspace layout(const AttentionSchedule& s) {
  const AttentionProblem& p = s.problem;
  const AttentionAttributes& a = p.attributes;
  AttentionWorkspace at{};
  std::size_t next = 0;
  const auto take = [&](std::int64_t bytes) {
    const std::size_t offset = next;
    next += static_cast<std::size_t>(divide_up(bytes, 256) * 256);
    return offset;
  };
  const bool tree = p.mode == AttentionMode::kTreeDecode;
  at.tree_mask = take(tree ? p.batch * p.tokens * divide_up(p.tokens, 32) * 4 : 0);
  const std::int64_t items = p.batch * a.num_kv_heads * s.row_blocks;
  const std::int64_t rows = s.splits > 1 ? items * s.splits * rows_of(s) : 0;
  // One token: a counter for each block of a cluster, whose sums are Parts, twice the size, of the
  // group's rows (attention_decode_fold.cuh).
  const int group = a.num_q_heads / a.num_kv_heads;
  const std::int64_t row_bytes = s.fused && group > 8
                                     ? std::int64_t{kAttentionTiles[s.tile].head_size} * 8
                                     : std::int64_t{kAttentionTiles[s.tile].head_size} * 4;
  at.arrivals = take(s.splits > 1 ? items * 8 * (s.fused ? 16 : 1) : 0);
  at.partial_tops = take(rows * 2 * 4);
  at.partial_sums = take(rows * row_bytes);
  at.bytes = next;
  return at;
}

}  // namespace

Result<AttentionSchedule> schedule_attention(const AttentionProblem& p, const CudaDevice& device) {
  DOVETAIL_RETURN_IF_ERROR(validate(p));
  DOVETAIL_RETURN_IF_ERROR(check_supported(p, device));
  const AttentionAttributes& a = p.attributes;
  const std::int64_t rows = p.tokens * (a.num_q_heads / a.num_kv_heads);
  AttentionSchedule s{.problem = p, .tile = choose_tile(p, rows, device)};
  if (s.tile < 0) {
    return unsupported("attention: head_size is ", a.head_size, " and the device has ",
                       device.shared_memory_bytes,
                       " bytes of shared memory a block, expected a head of at most 256 and 99 KB");
  }
  s.wgmma = choose_wgmma(p, rows, device);
  const AttentionTile& t = kAttentionTiles[s.tile];
  s.shared_bytes =
      s.wgmma < 0 ? shared_bytes(t, cache_bytes(p)) : kAttentionWgmmaTiles[s.wgmma].shared_bytes();
  s.row_blocks = divide_up(rows, rows_of(s));
  const int keys = s.wgmma < 0 ? t.keys : kAttentionWgmmaTiles[s.wgmma].keys;
  const int resident = s.wgmma < 0 ? 1 : kAttentionWgmmaTiles[s.wgmma].resident;
  const bool whole = s.wgmma >= 0 && !kAttentionWgmmaTiles[s.wgmma].splits;
  s.least_tiles = std::max(1, kLeastSplitKeys / keys);
  s.fused = is_fused(p);
  s.overlap_kernels = device.compute_capability >= 90;

  std::int64_t most_keys = p.mode == AttentionMode::kPrefill ? p.tokens : p.capacity;
  if (a.sliding_window_size > 0) {
    most_keys = std::min(most_keys, a.sliding_window_size + p.tokens);
  }
  // One block a multiprocessor has enough bytes on their way; E4M3 takes two to convert them.
  const std::int64_t slots =
      std::int64_t{std::max(device.multiprocessors, 1)} * (cache_bytes(p) == 1 ? 2 : resident);
  s.splits =
      whole ? 1 : choose_splits(s.row_blocks * items_of(p), slots, most_keys / kLeastSplitKeys);
  s.heads_first = heads_first(s, device);
  s.folds = s.splits > 1 && rows_of(s) > 16;
  if (s.row_blocks * s.splits > kMost) {
    return unsupported("attention: ", s.row_blocks, " row blocks, expected fewer than 2^31");
  }
  s.prepare_blocks = divide_up(p.tokens * 2 * a.num_kv_heads, prepared_rows(a.head_size));
  // About four blocks a multiprocessor for the copy of a separate past.
  s.copy_blocks = std::clamp<std::int64_t>(
      4 * device.multiprocessors / std::max<std::int64_t>(2 * a.num_kv_heads * p.batch, 1), 1, 64);
  s.workspace = layout(s);
  if (s.fused && device.compute_capability >= 90) choose_clusters(s, most_keys, device);
  return s;
}

std::string describe(const AttentionSchedule& s) {
  const AttentionTile& t = kAttentionTiles[s.tile];
  const bool wgmma = s.wgmma >= 0;
  const AttentionWgmmaTile& w = kAttentionWgmmaTiles[wgmma ? s.wgmma : 0];
  return concat(
      "attention: cuda, ", name_of(s.problem.mode), wgmma ? ", wgmma" : "", ", tile ",
      wgmma ? w.rows() : t.rows(), " rows x ", wgmma ? w.keys : t.keys, " keys, head ",
      wgmma ? w.head_size : t.head_size, ", ", wgmma ? w.stages : stages(t, cache_bytes(s.problem)),
      " stages, ", wgmma ? w.threads() : t.threads(), " threads, ", s.splits, " splits, grid ",
      s.row_blocks * s.splits, "x", s.problem.attributes.num_kv_heads, "x", s.problem.batch,
      s.cluster_shift > 0 ? concat(" in clusters of ", 1 << s.cluster_shift) : "", ", ",
      s.shared_bytes, " bytes of shared memory, ", s.workspace.bytes, " bytes of workspace");
}

}  // namespace dovetail::cuda
