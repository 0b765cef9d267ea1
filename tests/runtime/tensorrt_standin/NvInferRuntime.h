// SPDX-License-Identifier: Apache-2.0
// The part of TensorRT's runtime interface that src/runtime/tensorrt_*.cpp calls, declared by us: a
// stand-in under the same names, against which those sources are compiled and run where no SDK is.
// It is an interface for this program alone (its tables are not TensorRT's); that the same sources
// compile against NVIDIA's headers is another matter, -DTensorRT_ROOT=. engine.cpp implements it.
#pragma once

#include <cstddef>
#include <cstdint>

#include "cuda_runtime_api.h"

#define NV_TENSORRT_MAJOR 10
#define NV_TENSORRT_MINOR 13
#define NV_TENSORRT_VERSION 101300

namespace nvinfer1 {

struct Dims {
  static constexpr std::int32_t MAX_DIMS = 8;
  std::int32_t nbDims;
  std::int64_t d[MAX_DIMS];
};

class ILogger {
 public:
  enum class Severity : std::int32_t { kINTERNAL_ERROR, kERROR, kWARNING, kINFO, kVERBOSE };
  virtual ~ILogger() = default;
  virtual void log(Severity severity, const char* message) noexcept = 0;
};

enum class TensorIOMode : std::int32_t { kNONE, kINPUT, kOUTPUT };
enum class ExecutionContextAllocationStrategy : std::int32_t {
  kSTATIC,
  kON_PROFILE_CHANGE,
  kUSER_MANAGED
};

class IPluginRegistry {
 public:
  using PluginLibraryHandle = void*;
  virtual ~IPluginRegistry() = default;
  virtual PluginLibraryHandle loadLibrary(const char* path) noexcept = 0;
};

class IExecutionContext {
 public:
  virtual ~IExecutionContext() = default;
  virtual bool setOptimizationProfileAsync(std::int32_t index, cudaStream_t stream) noexcept = 0;
  virtual void setDeviceMemoryV2(void* memory, std::int64_t bytes) noexcept = 0;
  virtual bool setInputShape(const char* name, const Dims& dims) noexcept = 0;
  virtual bool setTensorAddress(const char* name, void* data) noexcept = 0;
  virtual bool enqueueV3(cudaStream_t stream) noexcept = 0;
};

class ICudaEngine {
 public:
  virtual ~ICudaEngine() = default;
  virtual std::int32_t getNbIOTensors() const noexcept = 0;
  virtual const char* getIOTensorName(std::int32_t index) const noexcept = 0;
  virtual TensorIOMode getTensorIOMode(const char* name) const noexcept = 0;
  virtual std::int32_t getNbOptimizationProfiles() const noexcept = 0;
  virtual std::int64_t getDeviceMemorySizeForProfileV2(std::int32_t index) const noexcept = 0;
  virtual IExecutionContext* createExecutionContext(
      ExecutionContextAllocationStrategy strategy) noexcept = 0;
};

class IRuntime {
 public:
  virtual ~IRuntime() = default;
  virtual IPluginRegistry& getPluginRegistry() noexcept = 0;
  virtual ICudaEngine* deserializeCudaEngine(const void* blob, std::size_t size) noexcept = 0;
};

}  // namespace nvinfer1
