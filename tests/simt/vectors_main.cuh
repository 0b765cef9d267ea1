// SPDX-License-Identifier: Apache-2.0
// main() of the device side of vectors.cu: prints "name count hash" for each group, the largest
// errors of the approximate functions as comments; with an argument, writes all words to that file.
#pragma once

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>

namespace dovetail::simt_test {

void require(cudaError_t error, const char* what) {
  if (error == cudaSuccess) return;
  std::fprintf(stderr, "%s: %s\n", what, cudaGetErrorString(error));
  std::exit(1);
}

template <class T>
class DeviceBuffer {
 public:
  explicit DeviceBuffer(size_t count) : size_(count) {
    require(cudaMalloc(&data_, count * sizeof(T)), "cudaMalloc");
    require(cudaMemset(data_, 0xff, count * sizeof(T)), "cudaMemset");
  }
  explicit DeviceBuffer(const std::vector<T>& values) : DeviceBuffer(values.size()) {
    require(cudaMemcpy(data_, values.data(), size_ * sizeof(T), cudaMemcpyDefault), "copy in");
  }
  ~DeviceBuffer() { cudaFree(data_); }
  T* data() { return data_; }
  std::vector<T> read() const {
    std::vector<T> values(size_);
    require(cudaMemcpy(values.data(), data_, size_ * sizeof(T), cudaMemcpyDefault), "copy out");
    return values;
  }

 private:
  T* data_ = nullptr;
  size_t size_;
};

void print_fast_errors() {
  constexpr uint32_t kCount = 1u << 16;
  std::vector<float> values(kCount);
  for (uint32_t i = 0; i < kCount; ++i)
    values[i] = 0.001f + static_cast<float>(i) * (16.0f / kCount);
  DeviceBuffer<float> in(values), out(4 * kCount);
  if (!run_fast({in.data(), out.data(), kCount}).ok()) std::exit(1);
  const auto result = out.read();
  const char* names[] = {"exp2", "log2", "reciprocal", "reciprocal_sqrt"};
  for (uint32_t f = 0; f < 4; ++f) {
    double worst = 0;
    for (uint32_t i = 0; i < kCount; ++i) {
      const double x = values[i];
      const double expected[] = {std::exp2(static_cast<double>(values[i] - 8.0f)), std::log2(x),
                                 1 / x, 1 / std::sqrt(x)};
      const double scale = f == 1 ? std::fmax(std::fabs(expected[f]), 1.0) : std::fabs(expected[f]);
      worst = std::fmax(worst, std::fabs(result[f * kCount + i] - expected[f]) / scale);
    }
    std::printf("# %s: largest relative error 2^%.2f\n", names[f], std::log2(worst));
  }
}

}  // namespace dovetail::simt_test

int main(int argc, char** argv) {
  using namespace dovetail::simt_test;
  cudaDeviceProp device{};
  require(cudaGetDeviceProperties(&device, 0), "no device");
  const int arch = device.major * 10 + device.minor;
  std::printf("# %s, sm_%d\n", device.name, arch);
  dovetail::Status failed;
  const auto groups = run_groups<DeviceBuffer>(has_e4m3_mma(), failed);
  if (!failed.ok()) {
    std::fprintf(stderr, "%s\n", failed.message().c_str());
    return 1;
  }
  print_fast_errors();
  const bool compare = argc == 3 && std::string(argv[1]) == "--compare";
  std::string expected;
  if (compare) {
    std::ifstream file(std::string(argv[2]) + "/vectors_" + std::to_string(arch) + ".txt");
    expected.assign(std::istreambuf_iterator<char>(file), {});
  }
  int differences = 0;
  std::FILE* file = argc == 2 ? std::fopen(argv[1], "wb") : nullptr;
  for (const Group& group : groups) {
    char line[128];
    std::snprintf(line, sizeof line, "%s %zu %016llx\n", group.name.c_str(), group.words.size(),
                  static_cast<unsigned long long>(hash_of(group.words.data(), group.words.size())));
    const bool differs = !expected.empty() && expected.find(line) == std::string::npos;
    differences += differs;
    std::printf("%s%s", differs ? "differs: " : "", line);
    if (file != nullptr) std::fwrite(group.words.data(), 4, group.words.size(), file);
  }
  if (file != nullptr) std::fclose(file);
  if (compare)
    std::printf("# %s\n", expected.empty() ? "nothing recorded for this GPU" : "compared");
  return differences == 0 ? 0 : 1;
}
