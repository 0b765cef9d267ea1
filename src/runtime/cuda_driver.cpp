// SPDX-License-Identifier: Apache-2.0
#include "runtime/cuda_driver.h"

#include <dlfcn.h>

#include <algorithm>
#include <cstdint>
#include <type_traits>
#include <utility>

#include "ops/message.h"

namespace dovetail {
namespace {

using Address = std::uint64_t;  // CUdeviceptr
constexpr int kOutOfMemory = 2;

Address address_of(const void* device) {
  return reinterpret_cast<Address>(device);
}

}  // namespace

struct CudaDriver::Calls {
  int (*init)(unsigned) = nullptr;
  int (*device_get)(int*, int) = nullptr;
  int (*retain_primary)(void**, int) = nullptr;
  int (*set_current)(void*) = nullptr;
  int (*allocate)(Address*, std::size_t) = nullptr;
  int (*free)(Address) = nullptr;
  int (*copy_in)(Address, const void*, std::size_t) = nullptr;
  int (*copy_out)(void*, Address, std::size_t) = nullptr;
  int (*synchronize)(void*) = nullptr;
  int (*error_string)(int, const char**) = nullptr;
  void* context = nullptr;

  Status status(const char* action, int error) const {
    if (error == 0) {
      return Status::success();
    }
    const char* reason = nullptr;
    error_string(error, &reason);
    return internal_error("cuda: cannot ", action, ": ",
                          reason == nullptr ? "an unknown error" : reason);
  }

  // Threads come and go; each needs the context once.
  Status enter() const { return status("use a GPU", set_current(context)); }
};

CudaDriver::CudaDriver(std::unique_ptr<const Calls> calls) : calls_(std::move(calls)) {}
CudaDriver::~CudaDriver() = default;

void CudaDriver::Free::operator()(void* device) const {
  if (driver->calls_->enter().ok()) {
    driver->calls_->free(address_of(device));
  }
}

Result<std::unique_ptr<const CudaDriver>> CudaDriver::load() {
  void* library = ::dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    return not_found("device cuda: the GPU's driver cannot be opened: ", ::dlerror());
  }
  auto calls = std::make_unique<Calls>();
  const char* missing = nullptr;
  const auto find = [&](auto& call, const char* name) {
    call = reinterpret_cast<std::remove_reference_t<decltype(call)>>(::dlsym(library, name));
    missing = call == nullptr ? name : missing;
  };
  find(calls->init, "cuInit");
  find(calls->device_get, "cuDeviceGet");
  find(calls->retain_primary, "cuDevicePrimaryCtxRetain");
  find(calls->set_current, "cuCtxSetCurrent");
  find(calls->allocate, "cuMemAlloc_v2");
  find(calls->free, "cuMemFree_v2");
  find(calls->copy_in, "cuMemcpyHtoD_v2");
  find(calls->copy_out, "cuMemcpyDtoH_v2");
  find(calls->synchronize, "cuStreamSynchronize");
  find(calls->error_string, "cuGetErrorString");
  if (missing != nullptr) {
    return not_found("device cuda: the GPU's driver has no ", missing);
  }
  int device = 0;
  DOVETAIL_RETURN_IF_ERROR(calls->status("use a GPU", calls->init(0)));
  DOVETAIL_RETURN_IF_ERROR(calls->status("use a GPU", calls->device_get(&device, 0)));
  DOVETAIL_RETURN_IF_ERROR(
      calls->status("use a GPU", calls->retain_primary(&calls->context, device)));
  return std::unique_ptr<const CudaDriver>(new CudaDriver(std::move(calls)));
}

Result<const CudaDriver*> CudaDriver::open() {
  static const auto* const loaded = new Result<std::unique_ptr<const CudaDriver>>(load());
  if (!loaded->ok()) {
    return loaded->status();
  }
  return (*loaded)->get();
}

Result<CudaDriver::Block> CudaDriver::allocate(std::size_t bytes) const {
  DOVETAIL_RETURN_IF_ERROR(calls_->enter());
  Address address = 0;
  const int error = calls_->allocate(&address, std::max<std::size_t>(bytes, 1));
  if (error == kOutOfMemory) {
    return resource_exhausted("cuda: cannot allocate ", bytes, " bytes of GPU memory");
  }
  DOVETAIL_RETURN_IF_ERROR(calls_->status("allocate GPU memory", error));
  return Block(reinterpret_cast<void*>(address), Free{this});
}

Status CudaDriver::copy_in(void* device, const void* host, std::size_t bytes) const {
  DOVETAIL_RETURN_IF_ERROR(calls_->enter());
  DOVETAIL_RETURN_IF_ERROR(
      calls_->status("copy an input", calls_->copy_in(address_of(device), host, bytes)));
  // From pageable memory the call returns when the bytes are staged. Other streams do not wait.
  return calls_->status("copy an input", calls_->synchronize(nullptr));
}

Status CudaDriver::copy_out(void* host, const void* device, std::size_t bytes) const {
  DOVETAIL_RETURN_IF_ERROR(calls_->enter());
  return calls_->status("copy the logits", calls_->copy_out(host, address_of(device), bytes));
}

}  // namespace dovetail
