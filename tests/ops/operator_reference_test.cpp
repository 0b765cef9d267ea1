// SPDX-License-Identifier: Apache-2.0
// docs/operators.md is what the declarations say. To renew it:
//   DOVETAIL_WRITE_DOCS=1 build/cpu/tests/ops/ops_operator_reference_test
#include "ops/operator_reference.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <sstream>

namespace dovetail {
namespace {

TEST(OperatorReference, FileEqualsDeclarations) {
  if (std::getenv("DOVETAIL_WRITE_DOCS") != nullptr) {
    std::ofstream(DOVETAIL_OPERATORS_MD) << operator_reference();
  }
  std::ifstream file(DOVETAIL_OPERATORS_MD);
  std::stringstream text;
  text << file.rdbuf();
  EXPECT_EQ(text.str(), operator_reference());
}

}  // namespace
}  // namespace dovetail
