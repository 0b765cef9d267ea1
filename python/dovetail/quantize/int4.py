# SPDX-License-Identifier: Apache-2.0
"""Round-to-nearest int4 of rows of a weight; the search is python/native/quantize.h."""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np

from .. import _native, data_types


@dataclass(frozen=True)
class QuantizedRows:
    """codes uint8 [n, K] 0..15, scales fp32 [n, K/G], zero points uint8 [n, K/G] or None: 8."""

    codes: np.ndarray
    scales: np.ndarray
    zero_points: np.ndarray | None
    squared_error: float
    squared_norm: float


def search_type(weight_type: data_types.DataType) -> data_types.DataType:
    """What scales are rounded to. fp32 weights get scales that fp16 holds: 11 bits are plenty, and
    the exporter may then store two bytes a scale without loss."""
    return data_types.BF16 if weight_type is data_types.BF16 else data_types.FP16


def quantize_rows(
    rows: np.ndarray, group_size: int, asymmetric: bool, scale_type: data_types.DataType
) -> QuantizedRows:
    rows = np.ascontiguousarray(rows, np.float32)
    return QuantizedRows(
        *_native.quantize_int4(rows, group_size, asymmetric, scale_type.name, os.cpu_count() or 1)
    )
