// SPDX-License-Identifier: Apache-2.0
// Runs in both worlds (see vectors.h). With nvcc, -DDOVETAIL_VECTORS_MAIN makes it a program that
// prints the device's hashes, and with an argument also writes every word to that file:
//   nvcc -std=c++20 --expt-relaxed-constexpr -arch=native -DDOVETAIL_VECTORS_MAIN
//        -I src -I include -I tests tests/simt/vectors.cu -o vectors && ./vectors > vectors_90.txt
#include "simt/vectors.h"

#include "cuda/launch.cuh"
#include "cuda/ptx.cuh"

namespace dovetail::simt_test {
namespace {

template <MmaFormat F>
DOVETAIL_KERNEL(32)
mma_kernel(const DOVETAIL_GRID_CONSTANT MmaVectors v) {
  const uint32_t lane = ptx::lane_index();
  const uint32_t* in = v.in + ptx::block_index().x * kMmaInputs;
  uint32_t a[4], b[2];
  float d[4];
  for (int i = 0; i < 4; ++i) a[i] = in[lane * 4 + i];
  for (int i = 0; i < 2; ++i) b[i] = in[128 + lane * 2 + i];
  for (int i = 0; i < 4; ++i) d[i] = std::bit_cast<float>(in[192 + lane * 4 + i]);
  if constexpr (F == MmaFormat::kHalf) ptx::mma_m16n8k16<ptx::Half>(d, a, b);
  if constexpr (F == MmaFormat::kBFloat16) ptx::mma_m16n8k16<ptx::BFloat16>(d, a, b);
  if constexpr (F == MmaFormat::kE4m3) ptx::mma_m16n8k32_e4m3(d, a, b);
  uint32_t* out = v.out + ptx::block_index().x * kMmaOutputs + lane * 4;
  for (int i = 0; i < 4; ++i) out[i] = std::bit_cast<uint32_t>(d[i]);
}

DOVETAIL_KERNEL(kScalarThreads) scalar_kernel(const DOVETAIL_GRID_CONSTANT ScalarVectors v) {
  const uint32_t i = ptx::block_index().x * ptx::block_size().x + ptx::thread_index().x;
  const uint32_t x = v.in[i], y = v.in[v.n + i], z = v.in[2 * v.n + i];
  const float fx = std::bit_cast<float>(x), fy = std::bit_cast<float>(y);
  auto put = [&](int k, uint32_t word) { v.out[k * v.n + i] = word; };
  put(0, ptx::pack2<ptx::Half>(fx, fy));
  put(1, ptx::pack2<ptx::BFloat16>(fx, fy));
  put(2, ptx::pack2_e4m3(fx, fy));
  put(3, ptx::e4m3_to_half2(static_cast<uint16_t>(x)));
  put(4, std::bit_cast<uint32_t>(ptx::unpack2<ptx::Half>(x).x));
  put(5, std::bit_cast<uint32_t>(ptx::unpack2<ptx::BFloat16>(x).y));
  put(6, ptx::fma2<ptx::Half>(x, y, z));
  put(7, ptx::fma2<ptx::BFloat16>(x, y, z));
  put(8, ptx::sub2<ptx::Half>(x, y));
  put(9, ptx::sub2<ptx::BFloat16>(x, y));
  put(10, ptx::mul2<ptx::Half>(x, y));
  put(11, ptx::mul2<ptx::BFloat16>(x, y));
  put(12, ptx::lop3<(0xf0 & 0xcc) | 0xaa>(x, y, z));
  put(13, ptx::lop3<0x96>(x, y, z));
  put(14, ptx::permute_bytes(x, y, z));
  put(15, ptx::round_to<ptx::Half>(fx).bits);
  put(16, ptx::e4m3_in_software(fx) | ptx::e4m3_in_software(fy) << 8);
  put(17, ptx::e4m3_to_half2_in_software(static_cast<uint16_t>(x)));
}

DOVETAIL_KERNEL(kScalarThreads) fast_kernel(const DOVETAIL_GRID_CONSTANT FastVectors v) {
  const uint32_t i = ptx::block_index().x * ptx::block_size().x + ptx::thread_index().x;
  v.out[i] = ptx::exp2_fast(v.in[i] - 8.0f);
  v.out[v.n + i] = ptx::log2_fast(v.in[i]);
  v.out[2 * v.n + i] = ptx::reciprocal_fast(v.in[i]);
  v.out[3 * v.n + i] = ptx::reciprocal_sqrt_fast(v.in[i]);
}

// Everything that moves data between lanes, warps and blocks; out[k][thread].
DOVETAIL_KERNEL(kWarpThreads) warp_kernel(const DOVETAIL_GRID_CONSTANT WarpVectors v) {
  uint32_t* tile = ptx::shared_memory<uint32_t>();  // [1024]
  DOVETAIL_SHARED(uint32_t[kWarpThreads], passed);
  const uint32_t i = ptx::thread_index().x, lane = ptx::lane_index(), warp = ptx::warp_index();
  uint32_t next = 0;
  auto put = [&](uint32_t word) { v.out[next++ * kWarpThreads + i] = word; };

  ptx::wait_for_previous_kernel();
  ptx::copy_async_16(tile + i * 4, v.in + i * 4, i % 5 == 0 ? i / 5 % 17 : 16);
  ptx::copy_async_commit();
  if (i < 64) {
    ptx::copy_async_cached<16>(tile + 512 + i * 4, v.in + 512 + i * 4);
  } else {
    ptx::copy_async_cached<8>(tile + 768 + (i - 64) * 2, v.in + 768 + (i - 64) * 2);
    ptx::copy_async_cached<4>(tile + 896 + i - 64, v.in + 896 + i - 64);
    ptx::copy_async_cached<4>(tile + 960 + i - 64, v.in, 0);
  }
  ptx::copy_async_commit();
  ptx::copy_async_wait<1>();
  put(tile[i * 4 + 3]);
  ptx::copy_async_wait<0>();
  ptx::sync_threads();
  for (int k = 0; k < 8; ++k) put(tile[k * 128 + i]);

  const uint32_t x = tile[i], mask = lane < 16 ? 0xffffu : 0xffff0000u;
  put(ptx::shuffle(x, 7));
  put(ptx::shuffle(x, 31 - lane));
  put(ptx::shuffle_xor(x, 5));
  put(ptx::shuffle_down(x, 3));
  put(ptx::shuffle_up(x, 4));
  put(ptx::shuffle_xor(x, 9, mask));
  put(std::bit_cast<uint32_t>(ptx::shuffle_xor(static_cast<float>(lane), 1)));
  put(ptx::ballot((x & 4) != 0));
  put(ptx::any(x == tile[5]));
  put(ptx::all((x & 15) != 9, mask));
  ptx::sync_warp();

  const void* row = tile + (warp * 32 + lane) * 4;
  uint32_t r1[1], r2[2], r4[4];
  ptx::load_matrix<1>(r1, row);
  put(r1[0]);
  ptx::load_matrix<1, true>(r1, row);
  put(r1[0]);
  ptx::load_matrix<2>(r2, row);
  put(r2[0] ^ r2[1] * 3);
  ptx::load_matrix<2, true>(r2, row);
  put(r2[0] ^ r2[1] * 3);
  ptx::load_matrix<4>(r4, row);
  for (uint32_t word : r4) put(word);
  ptx::load_matrix<4, true>(r4, row);
  for (uint32_t word : r4) put(word);

  // Warps 0 and 1 hand values to warps 2 and 3 through a named barrier that they only arrive at.
  if (warp < 2) {
    passed[i] = x;
    ptx::barrier_arrive(1, 128);
  } else {
    ptx::barrier_sync(1, 128);
    passed[i] = passed[i - 64] + 1;
  }
  ptx::sync_threads();
  put(passed[i]);

  const uint64_t policy = ptx::evict_first_policy();
  const ptx::Vec4 c = ptx::load_constant_16(v.in + i * 4), s = ptx::load_stream_16(v.in + i * 4);
  const ptx::Vec4 o = ptx::load_once_16(v.in + i * 4, policy);
  put(c.x ^ c.y * 3 ^ c.z * 5 ^ c.w * 7);
  put(s.x ^ s.y * 3 ^ s.z * 5 ^ s.w * 7);
  put(o.x ^ o.y * 3 ^ o.z * 5 ^ o.w * 7);
  if (i == 0) ptx::store_stream_16(v.words + 4, c);
  if (i < 8) {
    ptx::atomic_add(v.words, i + 1);
    ptx::atomic_add_acquire_release(v.words + 1, i + 1);
    ptx::reduce_add(v.sum, 0.5f);
  }
  if (i == 9) ptx::store_release(v.words + 2, x);
  ptx::thread_fence();
  ptx::sync_threads();
  put(ptx::load_acquire(v.words) + ptx::load_acquire(v.words + 1) + ptx::load_acquire(v.words + 2));
  put(v.words[4 + i % 4] + static_cast<uint32_t>(*v.sum));
  ptx::let_next_kernel_start();
  while (next < kWarpOutputs) put(next);
}

DOVETAIL_KERNEL(32) cluster_kernel(const DOVETAIL_GRID_CONSTANT ClusterVectors v) {
  DOVETAIL_SHARED(ptx::Vec4[32], mine);
  DOVETAIL_SHARED(ptx::Vec4[32], received);
  DOVETAIL_SHARED(uint32_t[32], word);
  const uint32_t i = ptx::thread_index().x, rank = ptx::cluster_rank();
  const uint32_t at = ptx::block_index().x * 32 + i, next = (rank + 1) % kClusterBlocks;
  const uint32_t x = v.in[at];
  mine[i] = {x, x + 1, x * 3, rank};
  ptx::cluster_arrive();
  ptx::cluster_wait();
  const ptx::Vec4 other = ptx::load_cluster(&mine[31 - i], next);
  ptx::store_cluster(&received[i], (rank + 3) % kClusterBlocks, other);
  ptx::store_cluster(&word[i], next, x ^ 5);
  ptx::cluster_arrive();
  ptx::cluster_wait();
  const ptx::Vec4 got = received[i];
  v.out[at * kClusterOutputs] = got.x ^ got.y * 5 ^ got.z * 7;
  v.out[at * kClusterOutputs + 1] = got.w;
  v.out[at * kClusterOutputs + 2] = word[i] + ptx::load_cluster(&word[i], rank);
}

// The architecture whose code would run here.
int compiled_architecture() {
#if defined(DOVETAIL_SIMT_HOST)
  return 90;
#else
  cudaFuncAttributes attributes{};
  const cudaError_t error = cudaFuncGetAttributes(&attributes, cluster_kernel);
  return error == cudaSuccess ? attributes.ptxVersion : 0;
#endif
}

}  // namespace

bool has_e4m3_mma() {
  return compiled_architecture() >= 89;
}

bool has_clusters() {
  return compiled_architecture() >= 90;
}

Status run_mma(MmaFormat format, const MmaVectors& v, uint32_t cases) {
  auto* kernel = mma_kernel<MmaFormat::kHalf>;
  if (format == MmaFormat::kBFloat16) kernel = mma_kernel<MmaFormat::kBFloat16>;
  if (format == MmaFormat::kE4m3) kernel = mma_kernel<MmaFormat::kE4m3>;
  return cuda::launch(kernel, {.grid = {cases}, .block = {32}}, v);
}

Status run_scalar(const ScalarVectors& v) {
  return cuda::launch(scalar_kernel, {.grid = {v.n / kScalarThreads}, .block = {kScalarThreads}},
                      v);
}

Status run_cluster(const ClusterVectors& v) {
  return cuda::launch(cluster_kernel,
                      {.grid = {kClusterBlocks}, .block = {32}, .cluster_blocks = kClusterBlocks},
                      v);
}

Status run_fast(const FastVectors& v) {
  return cuda::launch(fast_kernel, {.grid = {v.n / kScalarThreads}, .block = {kScalarThreads}}, v);
}

Status run_warp(const WarpVectors& v) {
  constexpr uint32_t kBytes = 1024 * 4;
  DOVETAIL_RETURN_IF_ERROR(cuda::prepare(warp_kernel, kBytes));
  return cuda::launch(
      warp_kernel,
      {.grid = {1}, .block = {kWarpThreads}, .shared_bytes = kBytes, .overlap_previous = true}, v);
}

// ---- inputs ----

namespace {

struct FormatBits {
  int exponent, mantissa;
};

uint32_t element(RandomBits& random, FormatBits f, const Flavour& flavour, int lowest,
                 int highest) {
  const int bias = (1 << (f.exponent - 1)) - 1, last = (1 << f.exponent) - 1;
  const uint32_t bits = random.next();
  const uint32_t sign = (bits & 1) << (f.exponent + f.mantissa);
  const uint32_t mantissa = bits >> 1 & ((1u << f.mantissa) - 1);
  if (flavour.zeros != 0 && random.between(1, flavour.zeros) == 1) return sign;
  if (flavour.specials && random.between(1, 60) == 1) {
    const bool has_infinity = f.mantissa != 3;
    if (!has_infinity) return sign | 0x7f;
    return sign | static_cast<uint32_t>(last) << f.mantissa | (bits >> 30 == 0 ? mantissa : 0);
  }
  int field = bias + random.between(lowest, highest);
  const int largest = f.mantissa == 3 ? last - 1 : last - 1;  // E4m3: stay clear of its NaN
  if (field < 0) field = 0;
  if (field > largest) field = largest;
  return sign | static_cast<uint32_t>(field) << f.mantissa | mantissa;
}

}  // namespace

std::vector<uint32_t> mma_inputs(MmaFormat format, int index) {
  const Flavour& flavour = kFlavours[index];
  RandomBits random(1000 * static_cast<uint64_t>(format) + static_cast<uint64_t>(index));
  FormatBits f{5, 10};
  if (format == MmaFormat::kBFloat16) f = {8, 7};
  if (format == MmaFormat::kE4m3) f = {4, 3};
  const int width = 1 + f.exponent + f.mantissa;
  const int low = format == MmaFormat::kBFloat16 ? 5 * flavour.lowest : flavour.lowest;
  const int high = format == MmaFormat::kBFloat16 ? 2 * flavour.highest : flavour.highest;
  std::vector<uint32_t> words(kCasesPerFlavour * kMmaInputs);
  for (size_t i = 0; i < words.size(); ++i) {
    if (i % kMmaInputs < 192) {
      for (int shift = 0; shift < 32; shift += width) {
        words[i] |= element(random, f, flavour, low, high) << shift;
      }
    } else {
      words[i] = element(random, {8, 23}, flavour, flavour.c_lowest, flavour.c_highest);
    }
  }
  return words;
}

std::vector<uint32_t> scalar_inputs(uint32_t n) {
  // A third each: any bits; floats around the ranges of the small formats; the latter cut to 16
  // bits, which makes ties.
  RandomBits random(77);
  std::vector<uint32_t> words(kScalarInputs * n);
  for (size_t i = 0; i < words.size(); ++i) {
    const uint32_t bits = random.next();
    const uint32_t field = static_cast<uint32_t>(random.between(127 - 27, 127 + 18));
    words[i] = i % 3 == 0 ? bits : (bits & 0x807fffffu) | field << 23;
    if (i % 3 == 2) words[i] &= random.next() % 2 ? 0xffff0000u : 0xfff80000u;
  }
  return words;
}

std::vector<uint32_t> warp_inputs() {
  RandomBits random(78);
  std::vector<uint32_t> words(1024);
  for (uint32_t& word : words) word = random.next();
  return words;
}

uint64_t hash_of(const uint32_t* words, size_t count) {  // FNV-1a over words
  uint64_t hash = 0xcbf29ce484222325u;
  for (size_t i = 0; i < count; ++i) hash = (hash ^ words[i]) * 0x100000001b3u;
  return hash;
}

}  // namespace dovetail::simt_test

#if defined(DOVETAIL_VECTORS_MAIN)
#include "simt/vectors_main.cuh"
#endif
