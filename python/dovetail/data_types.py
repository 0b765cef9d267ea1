# SPDX-License-Identifier: Apache-2.0
"""Element types by the names that users see, as safetensors, numpy and ONNX spell them."""

from __future__ import annotations

from dataclasses import dataclass

import ml_dtypes
import numpy as np


@dataclass(frozen=True)
class DataType:
    name: str  # as in the command line and the manifest: "fp16"
    safetensors: str
    numpy: np.dtype
    onnx: int  # TensorProto.DataType

    @property
    def size(self) -> int:
        return self.numpy.itemsize


FP32 = DataType("fp32", "F32", np.dtype(np.float32), 1)
FP16 = DataType("fp16", "F16", np.dtype(np.float16), 10)
BF16 = DataType("bf16", "BF16", np.dtype(ml_dtypes.bfloat16), 16)
FP8 = DataType("fp8", "F8_E4M3", np.dtype(ml_dtypes.float8_e4m3fn), 17)
INT8 = DataType("int8", "I8", np.dtype(np.int8), 3)
UINT8 = DataType("uint8", "U8", np.dtype(np.uint8), 2)
INT32 = DataType("int32", "I32", np.dtype("<i4"), 6)
INT64 = DataType("int64", "I64", np.dtype("<i8"), 7)

ALL = (FP32, FP16, BF16, FP8, INT8, UINT8, INT32, INT64)
FLOATS = (FP32, FP16, BF16)
BY_NAME = {t.name: t for t in ALL}
BY_SAFETENSORS = {t.safetensors: t for t in ALL}
