// SPDX-License-Identifier: Apache-2.0
// libdovetail_read_operator.so: an ONNX Runtime operator that reads its inputs and does nothing
// else, benchmark.ReadMemory(x, weights...) -> checksum. So the rate of memory is measured beside
// an operator that reads the same weights, under the same conditions: the same kind of mapped file,
// the same thread pool, alternating runs. `x` keeps a node from being constant.
#include <onnxruntime_c_api.h>

#include <atomic>
#include <cstdint>
#include <vector>

#include "dovetail/cpu.h"
#include "roofs.h"

namespace dovetail::bench {
namespace {

constexpr std::uint32_t kApiVersion = 19;
constexpr std::size_t kPage = 4096;  // what the read loops count in
constexpr std::size_t kPieceBytes = std::size_t{256} << 10;

struct Piece {
  const char* data;
  std::size_t bytes;
};

// Made for one node; its inputs stay where they are, so the first run lists the pieces.
struct Reader {
  const OrtApi& api;
  std::vector<Piece> pieces{};
  std::atomic<std::uint64_t> checksum{0};
};

OrtStatus* list_pieces(Reader& reader, OrtKernelContext* context) {
  const OrtApi& api = reader.api;
  std::size_t inputs = 0;
  OrtStatus* failed = api.KernelContext_GetInputCount(context, &inputs);
  for (std::size_t i = 1; failed == nullptr && i < inputs; ++i) {
    const OrtValue* value = nullptr;
    OrtTensorTypeAndShapeInfo* info = nullptr;
    void* data = nullptr;
    std::size_t bytes = 0;  // of bytes: the weights are int8
    failed = api.KernelContext_GetInput(context, i, &value);
    if (failed == nullptr) {
      failed = api.GetTensorMutableData(const_cast<OrtValue*>(value), &data);
    }
    if (failed == nullptr) {
      failed = api.GetTensorTypeAndShape(value, &info);
    }
    if (failed == nullptr) {
      failed = api.GetTensorShapeElementCount(info, &bytes);
      api.ReleaseTensorTypeAndShapeInfo(info);
    }
    prefer_huge_pages(data, bytes);
    for (std::size_t at = 0; at < bytes / kPage * kPage; at += kPieceBytes) {
      const std::size_t left = bytes / kPage * kPage - at;
      reader.pieces.push_back(
          {static_cast<const char*>(data) + at, left < kPieceBytes ? left : kPieceBytes});
    }
  }
  return failed;
}

OrtStatus* compute(void* kernel, OrtKernelContext* context) {
  Reader& reader = *static_cast<Reader*>(kernel);
  const OrtApi& api = reader.api;
  OrtStatus* failed = reader.pieces.empty() ? list_pieces(reader, context) : nullptr;
  if (failed == nullptr) {
    reader.checksum = 0;
    failed = api.KernelContext_ParallelFor(
        context,
        [](void* self, std::size_t i) {
          Reader& r = *static_cast<Reader*>(self);
          r.checksum ^= kRoofLoopsAvx2.read(r.pieces[i].data, r.pieces[i].bytes);
        },
        reader.pieces.size(), 0, &reader);
  }
  OrtValue* output = nullptr;
  void* result = nullptr;
  const std::int64_t one = 1;
  if (failed == nullptr) {
    failed = api.KernelContext_GetOutput(context, 0, &one, 1, &output);
  }
  if (failed == nullptr) {
    failed = api.GetTensorMutableData(output, &result);
  }
  if (failed == nullptr) {
    *static_cast<std::uint64_t*>(result) = reader.checksum;
  }
  return failed;
}

OrtCustomOp read_memory() {
  OrtCustomOp op{};  // what is not set stays null: not there
  op.version = kApiVersion;
  op.GetName = [](const OrtCustomOp*) { return "ReadMemory"; };
  op.GetExecutionProviderType = [](const OrtCustomOp*) -> const char* { return nullptr; };
  op.GetInputTypeCount = [](const OrtCustomOp*) -> std::size_t { return 2; };
  op.GetOutputTypeCount = [](const OrtCustomOp*) -> std::size_t { return 1; };
  op.GetInputType = [](const OrtCustomOp*, std::size_t i) {
    return i == 0 ? ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT : ONNX_TENSOR_ELEMENT_DATA_TYPE_INT8;
  };
  op.GetOutputType = [](const OrtCustomOp*, std::size_t) {
    return ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64;
  };
  op.GetInputCharacteristic = [](const OrtCustomOp*, std::size_t i) {
    return i == 0 ? INPUT_OUTPUT_REQUIRED : INPUT_OUTPUT_VARIADIC;
  };
  op.GetOutputCharacteristic = [](const OrtCustomOp*, std::size_t) {
    return INPUT_OUTPUT_REQUIRED;
  };
  op.GetInputMemoryType = [](const OrtCustomOp*, std::size_t) { return OrtMemTypeDefault; };
  op.GetVariadicInputMinArity = [](const OrtCustomOp*) { return 1; };
  op.GetVariadicInputHomogeneity = [](const OrtCustomOp*) { return 1; };
  op.CreateKernelV2 = [](const OrtCustomOp*, const OrtApi* api, const OrtKernelInfo*,
                         void** kernel) -> OrtStatus* {
    *kernel = new Reader{*api};
    return nullptr;
  };
  op.KernelComputeV2 = compute;
  op.KernelDestroy = [](void* kernel) { delete static_cast<Reader*>(kernel); };
  return op;
}

}  // namespace
}  // namespace dovetail::bench

extern "C" __attribute__((visibility("default"))) OrtStatus* RegisterCustomOps(
    OrtSessionOptions* options, const OrtApiBase* base) {
  static const OrtCustomOp op = dovetail::bench::read_memory();
  const OrtApi* api = base->GetApi(dovetail::bench::kApiVersion);
  OrtCustomOpDomain* domain = nullptr;  // sessions keep it: it stays until the process ends
  OrtStatus* failed = api->CreateCustomOpDomain("benchmark", &domain);
  if (failed == nullptr) {
    failed = api->CustomOpDomain_Add(domain, &op);
  }
  return failed != nullptr ? failed : api->AddCustomOpDomain(options, domain);
}
