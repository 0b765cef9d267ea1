// SPDX-License-Identifier: Apache-2.0
// The SwiGLU kernel of src/cpu/lanes, compiled for the avx512 tier.
#include "cpu/avx512/float_vector.h"
#include "cpu/lanes/attention_math.h"
#include "cpu/lanes/swiglu_rows.h"

namespace dovetail {

const SwigluKernels kSwigluAvx512 = {"avx512", swiglu};

}  // namespace dovetail
