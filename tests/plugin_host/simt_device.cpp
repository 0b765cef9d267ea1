// SPDX-License-Identifier: Apache-2.0
// The device of a plugin library whose kernels run on the SIMT host model, and the model's memory
// for the program that drives it: the model lives inside the library.
#include "dovetail/cuda.h"
#include "simt/memory.h"

namespace dovetail {

Result<CudaDevice> cuda_device(int) {
  return CudaDevice{.compute_capability = 87,
                    .multiprocessors = 16,
                    .shared_memory_bytes = 163 * 1024,
                    .l2_bytes = std::size_t{4} << 20};
}

}  // namespace dovetail

extern "C" {

__attribute__((visibility("default"))) void* plugin_host_allocate(std::size_t bytes,
                                                                  bool initialised) {
  return dovetail::simt::allocate_global(bytes, initialised);
}

__attribute__((visibility("default"))) void plugin_host_free(void* pointer, std::size_t bytes) {
  dovetail::simt::free_global(pointer, bytes);
}
}
