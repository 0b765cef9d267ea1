// SPDX-License-Identifier: Apache-2.0
// TensorRT's plugin interface: the vendor's headers with -DTensorRT_ROOT=, else our declaration.
#pragma once

#if defined(DOVETAIL_TENSORRT_SDK)
#include <NvInferRuntime.h>
#else
#include "tensorrt/abi/plugin_interface.h"
#endif
