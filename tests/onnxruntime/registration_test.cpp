// SPDX-License-Identifier: Apache-2.0
// RegisterCustomOps against a host that only writes down what it is given: domain, operator,
// provider. ONNX Runtime itself registers operators of a provider that it was not built with, so a
// CPU build of it could not tell whether the CUDA ones are there.
#include <dlfcn.h>
#include <gtest/gtest.h>
#include <onnxruntime_c_api.h>

#include <set>
#include <string>
#include <tuple>
#include <vector>

namespace {

using Entry = std::tuple<std::string, std::string, std::string>;  // domain, operator, provider

// What stands behind the opaque handles.
std::vector<std::string> domains;
std::vector<Entry> registered;
std::size_t added_domains = 0;

OrtStatus* ORT_API_CALL has_entry(const OrtSessionOptions*, const char*, int* out) noexcept {
  *out = 0;
  return nullptr;
}
OrtStatus* ORT_API_CALL create_domain(const char* name, OrtCustomOpDomain** out) noexcept {
  domains.emplace_back(name);
  *out = reinterpret_cast<OrtCustomOpDomain*>(domains.size());  // its number, from 1
  return nullptr;
}
OrtStatus* ORT_API_CALL add_operator(OrtCustomOpDomain* domain, const OrtCustomOp* op) noexcept {
  const char* provider = op->GetExecutionProviderType(op);
  registered.emplace_back(domains[reinterpret_cast<std::size_t>(domain) - 1], op->GetName(op),
                          provider == nullptr ? "CPU" : provider);
  return nullptr;
}
OrtStatus* ORT_API_CALL add_domain(OrtSessionOptions*, OrtCustomOpDomain*) noexcept {
  ++added_domains;
  return nullptr;
}

const OrtApi* ORT_API_CALL api_of(std::uint32_t) noexcept {
  static const OrtApi api = [] {
    OrtApi table{};
    table.HasSessionConfigEntry = has_entry;
    table.CreateCustomOpDomain = create_domain;
    table.CustomOpDomain_Add = add_operator;
    table.AddCustomOpDomain = add_domain;
    return table;
  }();
  return &api;
}
const char* ORT_API_CALL version() noexcept {
  return "1.0";
}

TEST(Registration, EveryOperatorIsThereForTheCpuAndForCuda) {
  void* library = ::dlopen(DOVETAIL_OPERATOR_LIBRARY, RTLD_NOW | RTLD_LOCAL);
  ASSERT_NE(library, nullptr) << ::dlerror();
  using Register = OrtStatus* (*)(OrtSessionOptions*, const OrtApiBase*);
  const auto register_operators = reinterpret_cast<Register>(::dlsym(library, "RegisterCustomOps"));
  ASSERT_NE(register_operators, nullptr);
  const OrtApiBase base{api_of, version};
  for (int session = 1; session <= 2; ++session) {  // the second one reuses what the first made
    ASSERT_EQ(register_operators(nullptr, &base), nullptr);
    EXPECT_EQ(added_domains, std::size_t(session) * 3);
  }
  const std::string cuda = "CUDAExecutionProvider";
  const std::multiset<Entry> expected = {
      {"trt", "AttentionPlugin", "CPU"},         {"trt", "AttentionPlugin", cuda},
      {"trt", "Int4GroupwiseGemmPlugin", "CPU"}, {"trt", "Int4GroupwiseGemmPlugin", cuda},
      {"", "Int4GroupwiseGemmPlugin", "CPU"},    {"", "Int4GroupwiseGemmPlugin", cuda},
      {"dovetail", "PackedSwiGLU", "CPU"},       {"dovetail", "PackedSwiGLU", cuda},
      {"dovetail", "ResidualRMSNorm", "CPU"},    {"dovetail", "ResidualRMSNorm", cuda},
  };
  EXPECT_EQ(std::multiset<Entry>(registered.begin(), registered.end()), expected);
}

}  // namespace
