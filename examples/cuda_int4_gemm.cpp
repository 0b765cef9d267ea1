// SPDX-License-Identifier: Apache-2.0
// The int4 operator on a GPU: device pointers, a plan, a stream. Every weight is (9 - 8) * 0.5
// here; pack_int4() (see int4_gemm.cpp) lays out real ones.
#include <cuda_runtime_api.h>
#include <iostream>
#include <vector>

#include "dovetail/cuda.h"

using namespace dovetail;
template <class T>
void* on_device(const std::vector<T>& values) {
  void* memory = nullptr;
  cudaMalloc(&memory, values.size() * sizeof(T));
  cudaMemcpy(memory, values.data(), values.size() * sizeof(T), cudaMemcpyDefault);
  return memory;
}

int main() {
  constexpr int kM = 2, kN = 64, kK = 256, kGroup = 128;
  const Int4GemmAttributes shape{kN, kK, kGroup, 0, 0, WeightLayout::kCudaV1};
  const Int4GemmProblem problem{shape, DataType::kFloat32, DataType::kFloat32, kM};
  const auto device = cuda_device();
  if (!device.ok()) return std::cerr << device.status().message() << '\n', 1;
  const auto gemm = plan(problem, *device);
  if (!gemm.ok()) return std::cerr << gemm.status().message() << '\n', 1;
  cudaStream_t stream = nullptr;
  cudaStreamCreate(&stream);
  std::vector<float> out(kM * kN);
  Int4GemmBuffers call;
  call.activations = on_device(std::vector<float>(kM * kK, 3.0f));
  call.weights = on_device(std::vector<unsigned char>(weights_shape(shape).count(), 0x99));
  call.scales = on_device(std::vector<float>(scales_shape(shape).count(), 0.5f));
  call.output = on_device(out);
  call.workspace = on_device(std::vector<char>(gemm->workspace_bytes()));
  if (const auto s = gemm->run(call, stream); !s.ok()) return std::cerr << s.message() << '\n', 1;
  cudaMemcpy(out.data(), call.output, out.size() * sizeof(float), cudaMemcpyDefault);  // waits
  std::cout << gemm->describe() << '\n' << out.front() << ' ' << out.back() << '\n';
  return out.front() == 384 && out.back() == 384 ? 0 : 1;  // 256 * 3 * 0.5
}
