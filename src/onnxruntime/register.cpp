// SPDX-License-Identifier: Apache-2.0
// RegisterCustomOps, the one symbol of the library: SessionOptions::register_custom_ops_library
// calls it. Each operator is registered for the CPU and for the CUDA provider; the session's
// providers decide which one a node gets.
//
// The session entry "dovetail.threads" says how many threads the session's intra-op pool has, if it
// was set before the library was registered; ONNX Runtime has no call that tells. Without it a plan
// assumes one thread per logical CPU that the process may use. The number only shapes how work is
// cut.
#include <array>
#include <charconv>
#include <initializer_list>
#include <map>
#include <mutex>
#include <span>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "onnxruntime/attention.h"
#include "onnxruntime/custom_op.h"
#include "onnxruntime/int4_gemm.h"
#include "onnxruntime/residual_norm.h"
#include "onnxruntime/swiglu.h"

namespace dovetail::ort {
namespace {

constexpr const char* kThreadsEntry = "dovetail.threads";

// Edge-LLM's exporter writes Int4GroupwiseGemmPlugin nodes without a domain: ONNX's gets it too.
constexpr const char* kNoDomain = "";

// The operators of a session, for one host and one number of threads. Sessions keep pointers into
// it, so it stays until the process ends.
struct Registration {
  std::array<CustomOp, 2> attention;  // CPU, CUDA
  std::array<CustomOp, 2> int4_gemm;
  std::array<CustomOp, 2> swiglu;
  std::array<CustomOp, 2> residual_norm;
  std::vector<OrtCustomOpDomain*> domains;
};

Status add_domain(const OrtApi& api, const char* name,
                  std::initializer_list<std::span<const CustomOp>> operators,
                  std::vector<OrtCustomOpDomain*>* domains) {
  OrtCustomOpDomain* domain = nullptr;
  DOVETAIL_RETURN_IF_ERROR(from_ort(api, api.CreateCustomOpDomain(name, &domain)));
  domains->push_back(domain);
  for (const std::span<const CustomOp> backends : operators) {
    for (const CustomOp& op : backends) {
      DOVETAIL_RETURN_IF_ERROR(from_ort(api, api.CustomOpDomain_Add(domain, &op)));
    }
  }
  return Status::success();
}

template <class Op>
std::array<CustomOp, 2> make_backends(const OrtApi& api, int threads) {
  return {make_custom_op<Op, CpuBackend>(api, threads),
          make_custom_op<Op, CudaBackend>(api, threads)};
}

Result<std::span<OrtCustomOpDomain* const>> domains_for(const OrtApi& api, int threads) {
  static std::mutex mutex;
  static auto* const registrations = new std::map<std::pair<const OrtApi*, int>, Registration>;
  const std::lock_guard lock(mutex);
  Registration& known = (*registrations)[{&api, threads}];
  if (known.domains.empty()) {
    known.attention = make_backends<AttentionOp>(api, threads);
    known.int4_gemm = make_backends<Int4GemmOp>(api, threads);
    known.swiglu = make_backends<SwigluOp>(api, threads);
    known.residual_norm = make_backends<ResidualNormOp>(api, threads);
    std::vector<OrtCustomOpDomain*> domains;
    DOVETAIL_RETURN_IF_ERROR(add_domain(api, AttentionOp::schema().domain,
                                        {known.attention, known.int4_gemm}, &domains));
    DOVETAIL_RETURN_IF_ERROR(add_domain(api, kNoDomain, {known.int4_gemm}, &domains));
    DOVETAIL_RETURN_IF_ERROR(
        add_domain(api, SwigluOp::schema().domain, {known.swiglu, known.residual_norm}, &domains));
    known.domains = domains;
  }
  return std::span<OrtCustomOpDomain* const>(known.domains);
}

Result<int> session_threads(const OrtApi& api, const OrtSessionOptions* options) {
  int present = 0;
  DOVETAIL_RETURN_IF_ERROR(
      from_ort(api, api.HasSessionConfigEntry(options, kThreadsEntry, &present)));
  if (present == 0) {
    const unsigned available = std::thread::hardware_concurrency();
    return available == 0 ? 1 : static_cast<int>(available);
  }
  char text[32] = {};
  std::size_t size = sizeof text;
  DOVETAIL_RETURN_IF_ERROR(
      from_ort(api, api.GetSessionConfigEntry(options, kThreadsEntry, text, &size)));
  const std::string_view value(text);
  int threads = 0;
  const auto [end, error] = std::from_chars(value.begin(), value.end(), threads);
  if (error != std::errc() || end != value.end() || threads < 1) {
    return invalid_argument("session entry ", kThreadsEntry, " is \"", value,
                            "\", expected a positive integer");
  }
  return threads;
}

Status register_ops(const OrtApi& api, OrtSessionOptions* options) {
  Result<int> threads = session_threads(api, options);
  if (!threads.ok()) {
    return threads.status();
  }
  Result<std::span<OrtCustomOpDomain* const>> domains = domains_for(api, *threads);
  if (!domains.ok()) {
    return domains.status();
  }
  for (OrtCustomOpDomain* domain : *domains) {
    DOVETAIL_RETURN_IF_ERROR(from_ort(api, api.AddCustomOpDomain(options, domain)));
  }
  return Status::success();
}

}  // namespace
}  // namespace dovetail::ort

extern "C" __attribute__((visibility("default"))) OrtStatus* RegisterCustomOps(
    OrtSessionOptions* options, const OrtApiBase* base) {
  namespace ort = dovetail::ort;
  if (const OrtApi* api = base->GetApi(ort::kApiVersion)) {
    return ort::guarded(*api, [&] { return ort::register_ops(*api, options); });
  }
  const OrtApi* first = base->GetApi(1);  // every release serves it
  return ort::guarded(*first, [&] {
    return dovetail::unsupported("dovetail: ONNX Runtime is ", base->GetVersionString(),
                                 ", expected 1.", ort::kApiVersion, " or newer");
  });
}
