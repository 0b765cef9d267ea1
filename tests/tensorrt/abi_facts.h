// SPDX-License-Identifier: Apache-2.0
// Facts about a declaration of TensorRT's plugin interface that decide binary compatibility. This
// header is compiled against our declaration and against each vendor's headers; abi_test.cpp
// compares the lists. The classes have the same names in all of them, so everything is internal to
// its translation unit.
//
//   virtual functions   slot in the table and full signature (Itanium C++ ABI: a pointer to member
//                       function holds the byte offset of its slot, plus 1 except on AArch64)
//   tables              number of slots: an engine may call every one of them
//   structs, enums      size, offsets of members, values
#pragma once

#include <cxxabi.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <typeinfo>
#include <vector>

namespace dovetail::tensorrt_test {

struct AbiFact {
  std::string name;    // "IPluginV3::clone"
  std::int64_t value;  // slot, size, offset or enum value
  std::string signature;
};
using AbiFacts = std::vector<AbiFact>;

namespace {

template <class T>
struct Type {};

// Demangled, without what some headers wrap a name in: version namespaces, and the width of Dims
// (whose size and offsets are facts of their own).
std::string spell(const char* mangled) {
  const std::unique_ptr<char, decltype(&std::free)> text(
      abi::__cxa_demangle(mangled, nullptr, nullptr, nullptr), &std::free);
  std::string spelled = text.get();
  for (const char* version : {"v_1_0::", "v_2_0::"}) {
    for (std::size_t at; (at = spelled.find(version)) != std::string::npos;) {
      spelled.erase(at, std::strlen(version));
    }
  }
  for (const char* dims : {"Dims32", "Dims64"}) {
    for (std::size_t at; (at = spelled.find(dims)) != std::string::npos;) {
      spelled.erase(at + 4, 2);
    }
  }
  return spelled;
}

template <class Class, class Function>
AbiFact virtual_function(const char* name, Function Class::*function) {
  std::int64_t words[2];
  static_assert(sizeof function == sizeof words);
  std::memcpy(words, &function, sizeof words);
#if defined(__aarch64__)
  const std::int64_t offset = words[0];
#else
  const std::int64_t offset = words[0] - 1;
#endif
  return {name, offset / static_cast<std::int64_t>(sizeof(void*)),
          spell(typeid(Type<Function>).name())};
}

// The first slot behind the table of Interface.
template <class Interface>
struct Behind : Interface {
  virtual void behind();
};
template <class Interface>
AbiFact table_size(const char* name) {
  AbiFact fact = virtual_function(name, &Behind<Interface>::behind);
  fact.signature.clear();
  return fact;
}

}  // namespace
}  // namespace dovetail::tensorrt_test

#define FACT_TABLE(facts, type, ...)                                   \
  {                                                                    \
    using Interface = nvinfer1::type;                                  \
    const std::string prefix = #type "::";                             \
    auto& list = facts;                                                \
    __VA_ARGS__                                                        \
    list.push_back(table_size<Interface>((prefix + "<end>").c_str())); \
  }
#define SLOT(method) \
  list.push_back(virtual_function((prefix + #method).c_str(), &Interface::method));
// Of an overload set: the member of type `function`.
#define SLOT_OF(method, result, arguments)    \
  list.push_back(virtual_function<Interface>( \
      (prefix + #method).c_str(),             \
      static_cast<result(Interface::*) arguments>(&Interface::method)));
#define FACT_SIZE(facts, type) \
  facts.push_back({#type " size", static_cast<std::int64_t>(sizeof(nvinfer1::type)), ""});
#define FACT_OFFSET(facts, type, member)                                                           \
  facts.push_back({#type "." #member, static_cast<std::int64_t>(offsetof(nvinfer1::type, member)), \
                   spell(typeid(Type<decltype(nvinfer1::type::member)>).name())});
#define FACT_VALUE(facts, type, name) \
  facts.push_back({#type "::" #name, static_cast<std::int64_t>(nvinfer1::type::name), ""});
