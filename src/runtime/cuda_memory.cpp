// SPDX-License-Identifier: Apache-2.0
#include "runtime/cuda_memory.h"

#include <cuda_runtime_api.h>

#include "ops/message.h"

namespace dovetail {
namespace {

Status cuda_status(std::string_view action, cudaError_t error) {
  return error == cudaSuccess
             ? Status::success()
             : internal_error("cuda: cannot ", action, ": ", cudaGetErrorString(error));
}

cudaStream_t stream_of(void* handle) {
  return static_cast<cudaStream_t>(handle);
}

}  // namespace

Result<CudaMemory> CudaMemory::allocate(std::size_t bytes) {
  void* data = nullptr;
  if (bytes > 0) {
    const cudaError_t error = cudaMalloc(&data, bytes);
    if (error == cudaErrorMemoryAllocation) {
      return resource_exhausted("cuda: cannot allocate ", bytes, " bytes of GPU memory");
    }
    DOVETAIL_RETURN_IF_ERROR(cuda_status(concat("allocate ", bytes, " bytes"), error));
  }
  return CudaMemory(data);
}

void CudaMemory::Free::operator()(void* pointer) const {
  cudaFree(pointer);
}

Result<CudaStream> CudaStream::create() {
  cudaStream_t stream = nullptr;
  DOVETAIL_RETURN_IF_ERROR(
      cuda_status("use a GPU", cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking)));
  return CudaStream(stream);
}

void CudaStream::Destroy::operator()(void* stream) const {
  cudaStreamDestroy(stream_of(stream));
}

Status CudaStream::copy_in(void* device, const void* host, std::size_t bytes) const {
  return cuda_status("copy an input", cudaMemcpyAsync(device, host, bytes, cudaMemcpyHostToDevice,
                                                      stream_of(handle())));
}

Status CudaStream::copy_out(void* host, const void* device, std::size_t bytes) const {
  return cuda_status("copy the logits", cudaMemcpyAsync(host, device, bytes, cudaMemcpyDeviceToHost,
                                                        stream_of(handle())));
}

Status CudaStream::wait() const {
  return cuda_status("run the engine", cudaStreamSynchronize(stream_of(handle())));
}

}  // namespace dovetail
