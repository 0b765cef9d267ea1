// SPDX-License-Identifier: Apache-2.0
// The checkers, checked: each planted defect must be found, and a result that differs from the
// model only by its order of summation must pass.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "support/error_budget.h"
#include "support/guarded_buffer.h"
#include "support/random.h"
#include "support/typed_values.h"

namespace dovetail::test_support {
namespace {

// 64 dot products of 256 terms: fp64 reference, fp32 forward as model, fp32 backward as result.
struct DotProducts {
  std::vector<double> reference, model, got, magnitude;

  explicit DotProducts(DataType type) : storage(type) {
    Random random(7);
    for (int row = 0; row < 64; ++row) {
      std::vector<float> a(256), b(256);
      for (int i = 0; i < 256; ++i) {
        a[i] = random.bell();
        b[i] = random.bell();
      }
      double exact = 0, terms = 0;
      float forward = 0, backward = 0;
      for (int i = 0; i < 256; ++i) {
        exact += static_cast<double>(a[i]) * b[i];
        terms += std::abs(static_cast<double>(a[i]) * b[i]);
        forward += a[i] * b[i];
        backward += a[255 - i] * b[255 - i];
      }
      reference.push_back(exact);
      magnitude.push_back(terms);
      model.push_back(rounded(forward, type));
      got.push_back(rounded(backward, type));
    }
  }
  std::string check() const {
    return check_error_budget({got, model, reference, magnitude, storage});
  }

  DataType storage;
};

class BudgetTest : public testing::TestWithParam<DataType> {};

TEST_P(BudgetTest, AcceptsAnotherSummationOrder) {
  EXPECT_EQ(DotProducts(GetParam()).check(), "");
}

TEST_P(BudgetTest, FindsAZeroedElement) {
  DotProducts d(GetParam());
  d.got[17] = 0;
  EXPECT_NE(d.check(), "");
}

TEST_P(BudgetTest, FindsNanAndInfinity) {
  DotProducts d(GetParam());
  d.got[3] = std::nan("");
  EXPECT_EQ(d.check().rfind("element 3 is nan", 0), 0u);
  d.got[3] = std::numeric_limits<double>::infinity();
  EXPECT_EQ(d.check().rfind("element 3 is inf", 0), 0u);
}

TEST_P(BudgetTest, WantsTheNanOfTheReference) {
  DotProducts d(GetParam());
  d.reference[5] = std::nan("");
  EXPECT_NE(d.check(), "");
  d.got[5] = std::nan("");
  EXPECT_EQ(d.check(), "");
}

TEST_P(BudgetTest, FindsAShiftedRow) {
  DotProducts d(GetParam());
  std::rotate(d.got.begin(), d.got.begin() + 1, d.got.end());
  EXPECT_NE(d.check(), "");
}

TEST_P(BudgetTest, FindsOneTermOfOneElementDroppedOrSwapped) {
  DotProducts d(GetParam());  // a swapped nibble changes a term by a few per cent of the result
  d.got[40] += 0.05 * d.magnitude[40] / 4;
  EXPECT_NE(d.check(), "");
}

TEST_P(BudgetTest, TheNormFindsASmallErrorEverywhere) {
  DotProducts d(GetParam());
  double largest = 0;
  for (std::size_t i = 0; i < d.got.size(); ++i) {
    largest = std::max(largest, std::abs(d.model[i] - d.reference[i]));
  }
  for (std::size_t i = 0; i < d.got.size(); ++i) {
    d.got[i] = d.reference[i] + 1.9 * largest + half_unit(d.reference[i], d.storage);
  }
  EXPECT_EQ(d.check().rfind("error norm", 0), 0u) << d.check();
}

INSTANTIATE_TEST_SUITE_P(Types, BudgetTest,
                         testing::Values(DataType::kFloat32, DataType::kFloat16,
                                         DataType::kBFloat16),
                         [](const auto& i) { return std::string(name_of(i.param)); });

TEST(HalfUnit, IsTheRoundingBoundOfEveryType) {
  EXPECT_EQ(half_unit(1.0, DataType::kFloat16), 0x1p-11);
  EXPECT_EQ(half_unit(1.0, DataType::kBFloat16), 0x1p-8);
  EXPECT_EQ(half_unit(1.0, DataType::kFloat32), 0x1p-24);
  EXPECT_EQ(half_unit(0.0, DataType::kFloat16), 0x1p-25);  // subnormals are 2^-24 apart
  Random random(3);
  for (int i = 0; i < 1000; ++i) {
    const double value = random.bell();
    for (DataType type : {DataType::kFloat16, DataType::kBFloat16, DataType::kFloat8E4M3}) {
      EXPECT_LE(std::abs(rounded(value, type) - value), half_unit(value, type));
    }
  }
}

TEST(CheckEqual, FindsTheFirstDifference) {
  const std::vector<double> a{1, 2, 3}, b{1, 2, 4}, nan{std::nan("")};
  EXPECT_EQ(check_equal(a, a), "");
  EXPECT_EQ(check_equal(b, a), "element 2 is 4, expected exactly 3");
  EXPECT_NE(check_equal(nan, nan), "");
  EXPECT_NE(check_equal(nan, a), "");
}

TEST(GuardedBuffer, StartsAsNanAndFindsStrayWrites) {
  GuardedBuffer buffer(20, 64);
  EXPECT_TRUE(std::isnan(buffer.as<float>()[4]));
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(buffer.data()) % 64, 0u);
  buffer.as<float>()[4] = 1;
  EXPECT_TRUE(buffer.intact());
  buffer.data()[20] = std::byte{0};
  EXPECT_FALSE(buffer.intact());
  buffer.data()[20] = GuardedBuffer::kPoison;
  buffer.data()[-1] = std::byte{0};
  EXPECT_FALSE(buffer.intact());
}

TEST(GuardedBufferDeathTest, FaultsOnAReadBehindTheEnd) {
  GuardedBuffer buffer(20, 4);
  const volatile std::byte* end = buffer.data() + 20;
  EXPECT_DEATH(static_cast<void>(*end), "");
}

}  // namespace
}  // namespace dovetail::test_support
