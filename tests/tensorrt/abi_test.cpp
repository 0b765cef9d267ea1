// SPDX-License-Identifier: Apache-2.0
// Our declaration of TensorRT's plugin interface against the vendor's headers: slots of virtual
// functions, their signatures, sizes, offsets, enum values. The headers come from -DTensorRT_ROOT=
// and -DDOVETAIL_TENSORRT_HEADERS=dir;dir (include folders of other versions); where there are
// none, only the tests of our own expectations run, and the Python tests let real TensorRT
// libraries judge.
#include "tensorrt/abi_test.h"

#include <gtest/gtest.h>

#include <map>

#include "tensorrt/abi/logger_interface.h"

namespace dovetail::tensorrt_test {
namespace {

std::map<std::string, AbiFact> by_name(const AbiFacts& facts) {
  std::map<std::string, AbiFact> map;
  for (const AbiFact& fact : facts) {
    EXPECT_TRUE(map.emplace(fact.name, fact).second) << fact.name << " is listed twice";
  }
  return map;
}

void expect_same(const AbiFacts& ours, const AbiFacts& vendor, const std::string& version) {
  const auto declared = by_name(ours);
  const auto published = by_name(vendor);
  for (const auto& [name, fact] : published) {
    const auto mine = declared.find(name);
    ASSERT_NE(mine, declared.end()) << version << " has " << name << ", our declaration does not";
    EXPECT_EQ(mine->second.value, fact.value) << version << ": " << name;
    EXPECT_EQ(mine->second.signature, fact.signature) << version << ": " << name;
  }
}

std::int64_t value_of(const AbiFacts& facts, const std::string& name) {
  return by_name(facts).at(name).value;
}

TEST(Abi, EqualsTheVendorsHeaders) {
  for (const Vendor& vendor : vendors()) {
    const std::string version =
        "TensorRT " + std::to_string(vendor.major) + "." + std::to_string(vendor.minor);
    std::printf("comparing with %s: %zu facts\n", version.c_str(),
                vendor.facts.size() + vendor.registry.size() + vendor.logger.size());
    expect_same(vendor.major == 8 ? declared_facts_abi8() : declared_facts(), vendor.facts,
                version);
    expect_same(declared_registry(vendor.major), vendor.registry, version);
    expect_same(declared_logger(/*versioned=*/vendor.major >= 11), vendor.logger, version);
  }
}

// Slots that engines of the past call in binaries of ours: they must never move.
TEST(Abi, KeepsItsSlots) {
  const AbiFacts facts = declared_facts();
  EXPECT_EQ(value_of(facts, "IPluginV3::getCapabilityInterface"), 4);
  EXPECT_EQ(value_of(facts, "IPluginV3::<end>"), 6);
  EXPECT_EQ(value_of(facts, "IPluginV3OneCore::<end>"), 7);
  EXPECT_EQ(value_of(facts, "IPluginV3OneBuildV2::getAliasedInput"), 15);
  EXPECT_EQ(value_of(facts, "IPluginV3OneBuildV2::<end>"), 16);
  EXPECT_EQ(value_of(facts, "IPluginV3OneRuntime::enqueue"), 6);
  EXPECT_EQ(value_of(facts, "IPluginV3OneRuntime::<end>"), 9);
  EXPECT_EQ(value_of(facts, "IPluginCreatorV3One::<end>"), 9);
  EXPECT_EQ(value_of(facts, "IPluginV2DynamicExt::<end>"), 30);
  EXPECT_EQ(value_of(facts, "PluginTensorDesc size"), 88);
  EXPECT_EQ(value_of(facts, "DynamicPluginTensorDesc size"), 304);
  EXPECT_EQ(value_of(declared_facts_abi8(), "PluginTensorDesc size"), 48);
  EXPECT_EQ(value_of(declared_facts_abi8(), "IPluginCreator::getPluginName"), 1);
}

}  // namespace

// The real names, so that their run-time types carry them.
}  // namespace dovetail::tensorrt_test

namespace nvinfer1 {
class IVersionedInterface {
 public:
  virtual ~IVersionedInterface() = default;
};
}  // namespace nvinfer1

namespace dovetail::tensorrt_test {
namespace {

class Plain {
 public:
  virtual ~Plain() = default;
};
class Versioned : public nvinfer1::IVersionedInterface {};
class VersionedUser : public Plain, public Versioned {};  // as users write loggers

TEST(LoggerForm, IsReadFromTheRunTimeType) {
  const Plain plain;
  const Versioned versioned;
  const VersionedUser user;
  EXPECT_EQ(tensorrt::abi::form_of(&plain), tensorrt::abi::Form::kPlain);
  EXPECT_EQ(tensorrt::abi::form_of(&versioned), tensorrt::abi::Form::kVersioned);
  EXPECT_EQ(tensorrt::abi::form_of(static_cast<const Versioned*>(&user)),
            tensorrt::abi::Form::kVersioned);
}

}  // namespace
}  // namespace dovetail::tensorrt_test
