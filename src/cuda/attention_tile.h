// SPDX-License-Identifier: Apache-2.0
// The shapes that the attention kernel is compiled for, and the index maps of its shared memory.
// One kernel serves decode, trees and prefill; they differ in the tile.
//
// A row is one query head of one token; the rows of a KV head are packed token-major (row = token *
// group + head in the group), so K and V are read once for all of them. A block owns `rows()` rows
// of one KV head and walks the keys of its split in stages of `keys`:
//
//                 <---------- keys ---------->
//             +------+------+------+------+       row_warps x key_warps warps; each takes
//        rows | warp | warp |      |      |       16 * row_tiles rows and keys / key_warps keys.
//             +------+------+------+------+       Key warps fold their results at the end.
//
// Few rows (decode): the warps share the keys. Many rows (trees, prefill): each warp has its own
// rows.
#pragma once

namespace dovetail::cuda {

struct AttentionTile {
  int head_size;  // smaller heads are padded with zeros in shared memory
  int row_warps, row_tiles, key_warps;
  int keys;
  int stage_kb = 48;  // of keys and values on their way or in use; two stages at least

  constexpr int rows() const { return 16 * row_tiles * row_warps; }
  constexpr int warp_rows() const { return 16 * row_tiles; }
  constexpr int warp_keys() const { return keys / key_warps; }
  constexpr int threads() const { return 32 * row_warps * key_warps; }
  // Blocks of a multiprocessor by its 65,536 registers: the kernel is compiled for so many.
  constexpr int resident_blocks() const { return key_warps == 8 ? 2 : 256 / threads(); }
};

// By head size, then rows; of equal ones the deeper first, for devices that hold its
// resident_blocks() at once. Decode of one lane reads at the speed of memory only with about 40 KB
// on their way into each multiprocessor (H100). 128 rows of D = 192 and more do not fit 99 KB
// (sm_86, 89, 120) with two stages, and 32 keys a stage keep 64 rows of D = 256 within it.
inline constexpr AttentionTile kAttentionTiles[] = {
    {.head_size = 64, .row_warps = 1, .row_tiles = 1, .key_warps = 8, .keys = 128, .stage_kb = 96},
    {.head_size = 64, .row_warps = 1, .row_tiles = 1, .key_warps = 4, .keys = 64, .stage_kb = 96},
    {.head_size = 64, .row_warps = 1, .row_tiles = 1, .key_warps = 4, .keys = 64},
    {.head_size = 64, .row_warps = 4, .row_tiles = 1, .key_warps = 1, .keys = 64},
    {.head_size = 64, .row_warps = 8, .row_tiles = 1, .key_warps = 1, .keys = 64},
    {.head_size = 64, .row_warps = 4, .row_tiles = 2, .key_warps = 1, .keys = 64},
    {.head_size = 80, .row_warps = 1, .row_tiles = 1, .key_warps = 4, .keys = 64, .stage_kb = 96},
    {.head_size = 80, .row_warps = 1, .row_tiles = 1, .key_warps = 4, .keys = 64},
    {.head_size = 80, .row_warps = 4, .row_tiles = 1, .key_warps = 1, .keys = 64},
    {.head_size = 80, .row_warps = 8, .row_tiles = 1, .key_warps = 1, .keys = 64},
    {.head_size = 96, .row_warps = 1, .row_tiles = 1, .key_warps = 4, .keys = 64, .stage_kb = 96},
    {.head_size = 96, .row_warps = 1, .row_tiles = 1, .key_warps = 4, .keys = 64},
    {.head_size = 96, .row_warps = 4, .row_tiles = 1, .key_warps = 1, .keys = 64},
    {.head_size = 96, .row_warps = 8, .row_tiles = 1, .key_warps = 1, .keys = 64},
    {.head_size = 128, .row_warps = 1, .row_tiles = 1, .key_warps = 4, .keys = 64, .stage_kb = 96},
    {.head_size = 128, .row_warps = 1, .row_tiles = 1, .key_warps = 4, .keys = 64},
    {.head_size = 128, .row_warps = 4, .row_tiles = 1, .key_warps = 1, .keys = 64, .stage_kb = 96},
    {.head_size = 128, .row_warps = 4, .row_tiles = 1, .key_warps = 1, .keys = 64},
    {.head_size = 128, .row_warps = 8, .row_tiles = 1, .key_warps = 1, .keys = 64, .stage_kb = 96},
    {.head_size = 128, .row_warps = 8, .row_tiles = 1, .key_warps = 1, .keys = 64},
    {.head_size = 128, .row_warps = 4, .row_tiles = 2, .key_warps = 1, .keys = 32, .stage_kb = 32},
    {.head_size = 192, .row_warps = 1, .row_tiles = 1, .key_warps = 2, .keys = 32, .stage_kb = 96},
    {.head_size = 192, .row_warps = 1, .row_tiles = 1, .key_warps = 2, .keys = 32},
    {.head_size = 192, .row_warps = 4, .row_tiles = 1, .key_warps = 1, .keys = 32},
    {.head_size = 256, .row_warps = 1, .row_tiles = 1, .key_warps = 2, .keys = 32, .stage_kb = 96},
    {.head_size = 256, .row_warps = 1, .row_tiles = 1, .key_warps = 2, .keys = 32},
    {.head_size = 256, .row_warps = 4, .row_tiles = 1, .key_warps = 1, .keys = 32},
};
inline constexpr int kAttentionTileCount = sizeof(kAttentionTiles) / sizeof(kAttentionTiles[0]);

inline constexpr int kPrepareThreads = 256;  // a block of the pre-pass
inline constexpr int kPrepareTurns = 2;      // rows of a thread, read at once

// Lanes of a warp that hold one head of one token, 8 elements each: the power of two from D / 8 on.
constexpr int lanes_of_head(int head_size) {
  return head_size <= 64 ? 8 : head_size <= 128 ? 16 : 32;
}

// The same with two chunks of 8 a lane.
constexpr int lanes_of_pairs(int head_size) {
  return lanes_of_head(head_size) / 2;
}
// Rows of a block of the pre-pass, a row being K or V of one head of one token.
constexpr int prepared_rows(int head_size) {
  return kPrepareTurns * kPrepareThreads / lanes_of_pairs(head_size);
}

// ---- wgmma (sm_90a), attention_wgmma.cuh: 64 rows a consumer warpgroup, and one that copies ----

struct AttentionWgmmaTile {
  int head_size, warpgroups, keys, stages;
  int resident;  // blocks of a multiprocessor
  // What setmaxnreg gives each thread: together no more than the block is launched with.
  int producer_registers, consumer_registers;
  bool splits = false;  // for trees, and for row blocks too few to fill the GPU

  constexpr int rows() const { return 64 * warpgroups; }
  constexpr int threads() const { return 128 * (warpgroups + 1); }
  constexpr int launch_registers() const { return 65536 / resident / threads() / 8 * 8; }
  constexpr bool trees() const { return splits && keys == 64; }
  constexpr int shared_bytes() const {  // 1 KB of it for alignment
    return 1024 + (rows() + 2 * stages * keys) * head_size * 2;
  }
};
// Without splits, then with them; by head size, then rows. Trees, whose mask needs registers, take
// stages of 64 keys.
inline constexpr AttentionWgmmaTile kAttentionWgmmaTiles[] = {
    {64, 1, 128, 3, 2, 40, 216},       {64, 2, 128, 3, 1, 40, 232},
    {128, 2, 128, 3, 1, 40, 232},      {64, 1, 64, 6, 2, 40, 216, true},
    {64, 1, 128, 3, 2, 40, 216, true}, {128, 1, 64, 6, 1, 96, 240, true},
    {128, 2, 64, 4, 1, 40, 232, true},
};
inline constexpr int kAttentionWgmmaTileCount = 7;

// ---- shared memory: the query rows, then `stages` times {keys, values} ----

inline constexpr int kQueryBytes = 2;  // fp16 or bf16

constexpr int query_bytes(const AttentionTile& t) {
  return t.rows() * t.head_size * kQueryBytes;
}
constexpr int stage_bytes(const AttentionTile& t, int cache_bytes) {
  return 2 * t.keys * t.head_size * cache_bytes;
}
constexpr int stages(const AttentionTile& t, int cache_bytes) {
  const int fitting = t.stage_kb * 1024 / stage_bytes(t, cache_bytes);
  return fitting < 2 ? 2 : fitting > 8 ? 8 : fitting;
}
constexpr int shared_bytes(const AttentionTile& t, int cache_bytes) {
  return query_bytes(t) + stages(t, cache_bytes) * stage_bytes(t, cache_bytes);
}

// A decode block of a cluster gets its share of every block's sums: runs of 8 columns, as 4 pairs of
// 16 bytes, of the group's `rows`.
constexpr int decode_box_bytes(const AttentionTile& t, int rows, int cluster) {
  return cluster == 1 ? 0 : (rows * t.head_size / 8 + cluster - 1) / cluster * cluster * 64;
}

// Splits of the keys of a row block: their weights are folded in shared memory, kFoldBatch at a time
// per thread. One more than a batch costs another latency (H100, 8k keys, 28/4/128: 33 splits
// 18.0 us, 32 16.6), and beyond one batch a split wants four times the keys to be worth it.
inline constexpr int kMostSplits = 256;
inline constexpr int kFoldBatch = 16;

// On top of it: a flag, what each row sees or the new token's K and V, and alignment.
constexpr int static_shared_bytes(const AttentionTile& t) {
  return 128 + (t.rows() == 16 ? 2 * t.head_size * kQueryBytes : 0) + t.rows() * 12;
}

// Where 16-byte chunk `chunk` of row `row` lies in its row of `chunks` chunks. ldmatrix reads the
// same chunk of 8 consecutive rows; they must fall on 8 different chunk columns modulo 128 bytes.
// With chunks = 2^k * odd the rows repeat after 8 / 2^k, so that many rows share one XOR pattern.
//   chunks  8, 16, 24, 32 (D 64, 128, 192, 256 in 2 bytes): chunk ^ row % 8
//   chunks  4, 12 (64 in 1 byte, 96 in 2)                 : chunk ^ row / 2 % 4
//   chunks  6, 10 (96 in 1 byte, 80 in 2)                 : chunk ^ row / 4 % 2
//   chunks  5                                             : chunk
constexpr int swizzled_chunk(int row, int chunk, int chunks) {
  const int period = chunks % 8 == 0 ? 8 : chunks % 4 == 0 ? 4 : chunks % 2 == 0 ? 2 : 1;
  return chunk ^ (row / (8 / period) % period);
}
// Byte offset of that chunk in a tile.
constexpr int tile_offset(int row, int chunk, int chunks) {
  return (row * chunks + swizzled_chunk(row, chunk, chunks)) * 16;
}

// With an E4M3 cache a lane of the mma gets keys as 4 adjacent bytes where its fragment wants
// columns {2t, 2t+1} and {2t+8, 2t+9}. The order of the summed index is free, so Q is stored to
// match: element i of 16 goes to this place.
//   element  0 1 2 3   4 5 6 7    8 9 10 11   12 13 14 15
//   place    0 1 8 9   2 3 10 11  4 5 12 13   6  7  14 15
constexpr int e4m3_query_place(int i) {
  return i % 16 / 4 * 2 + i % 2 + i / 2 % 2 * 8 + i / 16 * 16;
}

}  // namespace dovetail::cuda
