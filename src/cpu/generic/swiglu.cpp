// SPDX-License-Identifier: Apache-2.0
// The SwiGLU kernel of src/cpu/lanes, compiled for the generic tier.
#include "cpu/generic/float_vector.h"
#include "cpu/lanes/attention_math.h"
#include "cpu/lanes/swiglu_rows.h"

namespace dovetail {

const SwigluKernels kSwigluGeneric = {"generic", swiglu};

}  // namespace dovetail
