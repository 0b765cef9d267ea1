// SPDX-License-Identifier: Apache-2.0
// What the translation units of abi_test hand each other.
#pragma once

#include <vector>

#include "tensorrt/abi_facts.h"

namespace dovetail::tensorrt_test {

AbiFacts declared_facts();
AbiFacts declared_facts_abi8();  // 8.6: without the V3 interface
AbiFacts declared_registry(int major);
AbiFacts declared_logger(bool versioned);

// For interfaces that we declare under names of our own.
inline AbiFacts without_signatures(AbiFacts facts) {
  for (AbiFact& fact : facts) {
    fact.signature.clear();
  }
  return facts;
}

// One version of the vendor's headers; each registers itself before main().
struct Vendor {
  int major = 0;
  int minor = 0;
  AbiFacts facts = {};
  AbiFacts registry = {};
  AbiFacts logger = {};
};
inline std::vector<Vendor>& vendors() {
  static std::vector<Vendor> all;
  return all;
}

}  // namespace dovetail::tensorrt_test
