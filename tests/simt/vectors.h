// SPDX-License-Identifier: Apache-2.0
// Instructions on random inputs, for comparing a real GPU with the model bit for bit. The same
// kernels (vectors.cu) run in both worlds on the same inputs; a GPU's answers are kept in
// vectors_<arch>.txt as one hash per group, and vectors_test.cpp holds the model to them. Together
// the kernels use every wrapper of src/cuda/ptx, which makes them the compile test of the PTX too.
#pragma once

#include <cstdint>
#include <iterator>
#include <string>
#include <vector>

#include "dovetail/status.h"

namespace dovetail::simt_test {

// One mma per warp: a[32][4], b[32][2], c[32][4] registers in, d[32][4] out.
inline constexpr int kMmaInputs = 32 * 10, kMmaOutputs = 32 * 4;
struct MmaVectors {
  const uint32_t* in;  // [cases, kMmaInputs]
  uint32_t* out;       // [cases, kMmaOutputs]
};

inline constexpr int kScalarInputs = 3, kScalarOutputs = 18, kScalarThreads = 256;
struct ScalarVectors {
  const uint32_t* in;  // [kScalarInputs, n], n a multiple of kScalarThreads
  uint32_t* out;       // [kScalarOutputs, n]
  uint32_t n;
};

inline constexpr int kWarpThreads = 128, kWarpOutputs = 40;
struct WarpVectors {
  const uint32_t* in;  // [1024]
  uint32_t* out;       // [kWarpOutputs, kWarpThreads]
  uint32_t* words;     // [8], zero
  float* sum;          // one zero
};

// A cluster passes values round: [kClusterBlocks * 32] words in, three words a thread out.
inline constexpr uint32_t kClusterBlocks = 8, kClusterOutputs = 3;
struct ClusterVectors {
  const uint32_t* in;
  uint32_t* out;
};

// The approximate functions, which differ by up to 2 ulp: exp2, log2, reciprocal, reciprocal sqrt.
struct FastVectors {
  const float* in;  // [n] positive, n a multiple of kScalarThreads
  float* out;       // [4, n]
  uint32_t n;
};

enum class MmaFormat { kHalf, kBFloat16, kE4m3 };
bool has_e4m3_mma();
bool has_clusters();
Status run_mma(MmaFormat format, const MmaVectors& v, uint32_t cases);
Status run_scalar(const ScalarVectors& v);
Status run_warp(const WarpVectors& v);
Status run_fast(const FastVectors& v);
Status run_cluster(const ClusterVectors& v);

// ---- inputs: plain integer arithmetic, the same everywhere ----

// What the numbers of a group of mma cases look like.
struct Flavour {
  const char* name;
  int lowest, highest;  // exponent field as an offset from the format's bias
  int zeros;            // one in so many elements is zero; 0 = none
  bool specials;        // NaN and infinity appear
  int c_lowest, c_highest;
};
inline constexpr Flavour kFlavours[] = {
    {"near_one", -1, 1, 0, false, -1, 1}, {"spread", -6, 6, 5, false, -8, 8},
    {"wide", -14, 12, 5, false, -30, 20}, {"subnormal", -20, -10, 3, false, -30, -18},
    {"cancelling", 0, 0, 0, false, 2, 4}, {"huge_c", -3, 3, 4, false, 20, 40},
    {"special", -2, 2, 4, true, -2, 2},
};
inline constexpr uint32_t kCasesPerFlavour = 32;

class RandomBits {
 public:
  explicit RandomBits(uint64_t seed) : state_(seed) {}
  uint32_t next() {  // splitmix64
    uint64_t z = state_ += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return static_cast<uint32_t>((z ^ z >> 31) >> 32);
  }
  int between(int low, int high) {
    return low + static_cast<int>(next() % static_cast<uint32_t>(high - low + 1));
  }

 private:
  uint64_t state_;
};

std::vector<uint32_t> mma_inputs(MmaFormat format, int flavour);
std::vector<uint32_t> scalar_inputs(uint32_t n);
std::vector<uint32_t> warp_inputs();
uint64_t hash_of(const uint32_t* words, size_t count);

}  // namespace dovetail::simt_test

// ---- all groups: name -> words ----

namespace dovetail::simt_test {

struct Group {
  std::string name;
  std::vector<uint32_t> words;
};

// Buffer: constructed from a vector or from a count; data(), read(). `failed` returns a Status.
template <template <class> class Buffer>
std::vector<Group> run_groups(bool with_e4m3_mma, Status& failed) {
  std::vector<Group> groups;
  auto check = [&](Status status) {
    if (!status.ok()) failed = status;
  };
  const char* formats[] = {"half", "bfloat16", "e4m3"};
  for (int f = 0; f < (with_e4m3_mma ? 3 : 2); ++f) {
    for (int i = 0; i < static_cast<int>(std::size(kFlavours)); ++i) {
      const auto format = static_cast<MmaFormat>(f);
      Buffer<uint32_t> in(mma_inputs(format, i));
      Buffer<uint32_t> out(size_t{kCasesPerFlavour} * kMmaOutputs);
      check(run_mma(format, {in.data(), out.data()}, kCasesPerFlavour));
      groups.push_back({std::string("mma_") + formats[f] + '_' + kFlavours[i].name, out.read()});
    }
  }
  const uint32_t n = 4096;
  {
    Buffer<uint32_t> in(scalar_inputs(n));
    Buffer<uint32_t> out(size_t{kScalarOutputs} * n);
    check(run_scalar({in.data(), out.data(), n}));
    const auto words = out.read();
    // The last two are the software conversions: names, and so answers, of the hardware's.
    const char* names[] = {"pack_half",   "pack_bfloat16",   "pack_e4m3",     "e4m3_to_half",
                           "unpack_half", "unpack_bfloat16", "fma_half",      "fma_bfloat16",
                           "sub_half",    "sub_bfloat16",    "mul_half",      "mul_bfloat16",
                           "lop3_and_or", "lop3_xor",        "permute_bytes", "round_to_half",
                           "pack_e4m3",   "e4m3_to_half"};
    for (int k = 0; k < kScalarOutputs; ++k) {
      groups.push_back({names[k], {words.begin() + k * n, words.begin() + (k + 1) * n}});
    }
  }
  Buffer<uint32_t> in(warp_inputs());
  Buffer<uint32_t> out(size_t{kWarpOutputs} * kWarpThreads), words(std::vector<uint32_t>(8));
  Buffer<float> sum(std::vector<float>(1));
  check(run_warp({in.data(), out.data(), words.data(), sum.data()}));
  groups.push_back({"lanes_and_memory", out.read()});
  if (has_clusters()) {
    Buffer<uint32_t> passed(size_t{kClusterOutputs} * kClusterBlocks * 32);
    check(run_cluster({in.data(), passed.data()}));
    groups.push_back({"cluster", passed.read()});
  }
  return groups;
}

}  // namespace dovetail::simt_test
