// SPDX-License-Identifier: Apache-2.0
// What a test may ask of the stand-in for the CUDA runtime (fake_cudart.cpp).
#pragma once

#include <cstddef>

extern "C" {
std::size_t fake_cuda_allocations();       // since the process began
std::size_t fake_cuda_live_allocations();  // not freed yet
int fake_cuda_live_streams();
// Whether all these bytes lie in one allocation.
bool fake_cuda_on_device(const void* pointer, std::size_t bytes);
// From now on cudaMalloc fails beyond so many bytes in all; 0: no limit.
void fake_cuda_limit(std::size_t bytes);
// From now on there is no GPU: no stream can be made.
void fake_cuda_remove_device(bool removed);
}
