// SPDX-License-Identifier: Apache-2.0
// The int4 operator from C++: pack once, plan once, run as often as you like.
// Weights of 1.0 in one column block and 0 elsewhere, so that the result can be seen by eye.
#include <cstddef>
#include <iostream>
#include <vector>

#include "dovetail/cpu.h"
#include "dovetail/int4_gemm.h"
#include "dovetail/int4_pack.h"

namespace {

int fail(const dovetail::Status& status) {
  std::cerr << status.message() << '\n';
  return 1;
}

}  // namespace

int main() {
  using namespace dovetail;
  constexpr int kM = 2, kN = 32, kK = 128, kGroup = 32;

  // A nibble u means (u - 8) * scale. Output n sums the inputs of group n % 4: 10 is 1.0, 8 is 0.
  std::vector<std::uint8_t> codes(kN * kK, 8);
  for (int n = 0; n < kN; ++n) {
    for (int k = n % 4 * kGroup; k < (n % 4 + 1) * kGroup; ++k) {
      codes[static_cast<std::size_t>(n * kK + k)] = 10;
    }
  }
  const std::vector<float> plain_scales(kN * kK / kGroup, 0.5f);

  const Int4GemmAttributes attributes{
      .gemm_n = kN, .gemm_k = kK, .group_size = kGroup, .weight_layout = WeightLayout::kCpuV1};
  std::vector<std::byte> weights(static_cast<std::size_t>(weights_shape(attributes).count()));
  std::vector<float> scales(static_cast<std::size_t>(scales_shape(attributes).count()));
  Status status = pack_int4(
      {.n = kN,
       .k = kK,
       .group_size = kGroup,
       .layout = WeightLayout::kCpuV1,
       .scale_type = DataType::kFloat32},
      {.codes = codes, .scales = plain_scales, .zero_points = {}},
      {.weights = weights, .scales = std::as_writable_bytes(std::span(scales)), .zero_points = {}});
  if (!status.ok()) {
    return fail(status);
  }

  ThreadPool pool(2);
  const auto device = cpu_device(pool.threads());
  if (!device.ok()) {
    return fail(device.status());
  }
  const auto gemm = plan(Int4GemmProblem{.attributes = attributes,
                                         .activation_type = DataType::kFloat32,
                                         .scale_type = DataType::kFloat32,
                                         .m = kM},
                         *device);
  if (!gemm.ok()) {
    return fail(gemm.status());
  }
  std::vector<float> input(kM * kK);
  for (int k = 0; k < kM * kK; ++k) {
    input[static_cast<std::size_t>(k)] = static_cast<float>(k / kGroup);  // 0 ... 7, one a group
  }
  std::vector<float> output(kM * kN);
  struct alignas(64) Line {
    std::byte bytes[64];
  };
  std::vector<Line> workspace(gemm->workspace_bytes() / sizeof(Line) + 1);
  status = gemm->run({.activations = input.data(),
                      .weights = weights.data(),
                      .scales = scales.data(),
                      .output = output.data(),
                      .workspace = workspace.data()},
                     pool.runner());
  if (!status.ok()) {
    return fail(status);
  }
  std::cout << gemm->describe() << '\n';
  for (int m = 0; m < kM; ++m) {
    for (int n = 0; n < 4; ++n) {
      std::cout << output[static_cast<std::size_t>(m * kN + n)] << (n == 3 ? '\n' : ' ');
    }
  }
}
