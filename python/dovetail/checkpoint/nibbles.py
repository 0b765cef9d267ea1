# SPDX-License-Identifier: Apache-2.0
"""The packing of the compressed-tensors `pack-quantized` format: eight 4-bit values in an int32,
the first in the lowest bits, each stored as signed + 8 (so as 0..15).

    weight_packed      int32 [N, ceil(K/8)]    packed along K
    weight_zero_point  int32 [ceil(N/8), K/G]  packed along N
"""

from __future__ import annotations

import numpy as np


def pack_columns(values: np.ndarray) -> np.ndarray:
    """uint8 [N, K] of 0..15 -> int32 [N, ceil(K/8)]."""
    rows, columns = values.shape
    if columns % 8:
        values = np.pad(values, ((0, 0), (0, -columns % 8)))
    return np.ascontiguousarray(values[:, 0::2] | values[:, 1::2] << 4).view("<i4")


def unpack_columns(packed: np.ndarray, columns: int) -> np.ndarray:
    """int32 [N, ceil(K/8)] -> uint8 [N, K] of 0..15."""
    pairs = np.ascontiguousarray(packed).view(np.uint8)
    values = np.empty((pairs.shape[0], pairs.shape[1] * 2), np.uint8)
    np.bitwise_and(pairs, 15, out=values[:, 0::2])
    np.right_shift(pairs, 4, out=values[:, 1::2])
    return values if values.shape[1] == columns else np.ascontiguousarray(values[:, :columns])


def pack_rows(values: np.ndarray) -> np.ndarray:
    """uint8 [N, K/G] of 0..15 -> int32 [ceil(N/8), K/G]."""
    return np.ascontiguousarray(pack_columns(np.ascontiguousarray(values.T)).T)


def unpack_rows(packed: np.ndarray, rows: int) -> np.ndarray:
    """int32 [ceil(N/8), K/G] -> uint8 [N, K/G] of 0..15."""
    return np.ascontiguousarray(unpack_columns(np.ascontiguousarray(packed.T), rows).T)
