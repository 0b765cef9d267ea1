// SPDX-License-Identifier: Apache-2.0
// docs/operators.md, rendered from the declarations. A test compares the file with this text.
#pragma once

#include <string>

namespace dovetail {

std::string operator_reference();

}  // namespace dovetail
