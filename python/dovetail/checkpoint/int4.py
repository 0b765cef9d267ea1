# SPDX-License-Identifier: Apache-2.0
"""An int4 weight as every quantized format means it; how it is stored is a subclass's affair.

N output features, K input features, G group size.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .. import data_types
from ..errors import DovetailError
from .folder import Checkpoint

GROUP_SIZES = (32, 64, 128)
NO_ZERO_POINT = 8


@dataclass(frozen=True)
class Int4Linear:
    """value(n, k) = (nibble(n, k) - zero_point(n, k / G)) * scale(n, k / G); 8 if absent."""

    checkpoint: Checkpoint
    module: str
    n: int
    k: int
    group_size: int
    has_zero_points: bool
    scale_dtype: data_types.DataType

    def nibbles(self, start: int, stop: int) -> np.ndarray:
        """uint8 [stop - start, K] of 0..15"""
        raise NotImplementedError

    def scales(self) -> np.ndarray:
        """[N, K/G]"""
        raise NotImplementedError

    def zero_points(self) -> np.ndarray | None:
        """uint8 [N, K/G] of 0..15"""
        raise NotImplementedError


def check_group_size(
    checkpoint: Checkpoint, scale: str, groups: int, k: int, expected: dict[int, list[int]]
) -> int:
    """K / groups, if a kernel takes it; `expected`: the shape of the tensor by group size."""
    group_size = k // groups if groups else 0
    if group_size not in GROUP_SIZES or group_size * groups != k:
        shapes = ", ".join(str(shape) for g, shape in expected.items() if k % g == 0)
        raise DovetailError(
            f"{checkpoint.path}: tensor {scale} is {list(checkpoint.entry(scale).shape)}, "
            f"expected {shapes} (groups of 32, 64 or 128)"
        )
    return group_size


def check_scales(checkpoint: Checkpoint, tensor: str) -> None:
    scales = checkpoint.read(tensor).astype(np.float32)
    bad = ~(np.isfinite(scales) & (scales >= 0))
    if bad.any():
        row, column = np.argwhere(bad)[0]
        raise DovetailError(
            f"{checkpoint.path}: tensor {tensor} has {scales[row, column]} at [{row}, {column}], "
            "expected a finite scale that is not negative"
        )
