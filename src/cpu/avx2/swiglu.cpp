// SPDX-License-Identifier: Apache-2.0
// The SwiGLU kernel of src/cpu/lanes, compiled for the avx2 tier.
#include "cpu/avx2/float_vector.h"
#include "cpu/lanes/attention_math.h"
#include "cpu/lanes/swiglu_rows.h"

namespace dovetail {

const SwigluKernels kSwigluAvx2 = {"avx2", swiglu};

}  // namespace dovetail
