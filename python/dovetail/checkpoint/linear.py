# SPDX-License-Identifier: Apache-2.0
"""The weight of one linear module, read by rows: plain floats, or int4 with scales and zero points.

N output features, K input features, G group size. Both kinds are checked when they are opened
(names, shapes, types; for int4 also that every scale is finite and not negative).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .. import data_types
from ..errors import DovetailError
from .compressed_tensors import GROUP_SIZES, all_asymmetric
from .folder import Checkpoint
from .nibbles import unpack_columns, unpack_rows


@dataclass(frozen=True)
class FloatLinear:
    checkpoint: Checkpoint
    tensor: str
    n: int
    k: int
    dtype: data_types.DataType

    def rows(self, start: int, stop: int) -> np.ndarray:
        rows = self.checkpoint.read_rows(self.tensor, start, stop)
        return check_finite(rows, self.checkpoint, self.tensor)


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
        packed = self.checkpoint.read_rows(f"{self.module}.weight_packed", start, stop)
        return unpack_columns(packed, self.k)

    def scales(self) -> np.ndarray:
        """[N, K/G]"""
        return self.checkpoint.read(f"{self.module}.weight_scale")

    def zero_points(self) -> np.ndarray | None:
        """uint8 [N, K/G] of 0..15"""
        if not self.has_zero_points:
            return None
        return unpack_rows(self.checkpoint.read(f"{self.module}.weight_zero_point"), self.n)


def open_linear(checkpoint: Checkpoint, module: str, n: int, k: int) -> FloatLinear | Int4Linear:
    """The weight of `module`, which the architecture says is [n, k]."""
    if f"{module}.weight_packed" in checkpoint:
        return _open_int4(checkpoint, module, n, k)
    entry = checkpoint.expect(f"{module}.weight", (n, k), data_types.FLOATS)
    return FloatLinear(checkpoint, entry.name, n, k, entry.dtype)


def _open_int4(checkpoint: Checkpoint, module: str, n: int, k: int) -> Int4Linear:
    if f"{module}.weight_g_idx" in checkpoint:
        raise DovetailError(
            f"{checkpoint.path}: tensor {module}.weight_g_idx (activation order) is not supported; "
            "quantize without actorder, or with actorder weight"
        )
    checkpoint.expect(f"{module}.weight_packed", (n, (k + 7) // 8), (data_types.INT32,))
    if f"{module}.weight_shape" in checkpoint:
        checkpoint.expect(f"{module}.weight_shape", (2,), (data_types.INT64, data_types.INT32))
        shape = checkpoint.read(f"{module}.weight_shape").tolist()
        if shape != [n, k]:
            raise DovetailError(
                f"{checkpoint.path}: {module}.weight_shape says {shape}, expected [{n}, {k}]"
            )
    scale = checkpoint.entry(f"{module}.weight_scale")
    groups = scale.shape[1] if len(scale.shape) == 2 else 0
    group_size = k // groups if groups else 0
    if group_size not in GROUP_SIZES or group_size * groups != k or scale.shape[0] != n:
        choices = ", ".join(str([n, k // g]) for g in GROUP_SIZES if k % g == 0)
        raise DovetailError(
            f"{checkpoint.path}: tensor {scale.name} is {list(scale.shape)}, expected {choices} "
            "(groups of 32, 64 or 128)"
        )
    checkpoint.expect(scale.name, (n, groups), data_types.FLOATS)
    zero_point = f"{module}.weight_zero_point"
    if zero_point in checkpoint:
        checkpoint.expect(zero_point, ((n + 7) // 8, groups), (data_types.INT32,))
    elif all_asymmetric(checkpoint.config):
        raise DovetailError(
            f"{checkpoint.path}: tensor {zero_point} is missing, and config.json says that weights "
            "are asymmetric"
        )
    _check_scales(checkpoint, scale.name)
    return Int4Linear(checkpoint, module, n, k, group_size, zero_point in checkpoint, scale.dtype)


def _check_scales(checkpoint: Checkpoint, tensor: str) -> None:
    scales = checkpoint.read(tensor).astype(np.float32)
    bad = ~(np.isfinite(scales) & (scales >= 0))
    if bad.any():
        row, group = np.argwhere(bad)[0]
        raise DovetailError(
            f"{checkpoint.path}: tensor {tensor} has {scales[row, group]} at [{row}, {group}], "
            "expected a finite scale that is not negative"
        )


def check_finite(values: np.ndarray, checkpoint: Checkpoint, tensor: str) -> np.ndarray:
    """Rows of a float tensor; NaN or infinity is an error."""
    if not _is_finite(values):
        raise DovetailError(f"{checkpoint.path}: tensor {tensor} holds NaN or infinity")
    return values


def convert(
    values: np.ndarray, dtype: data_types.DataType, checkpoint: Checkpoint, tensor: str
) -> np.ndarray:
    """Finite rows of a float tensor in another type; a value beyond its range is an error."""
    if values.dtype == dtype.numpy:
        return values
    with np.errstate(over="ignore"):
        converted = values.astype(dtype.numpy)
    if not _is_finite(converted):
        raise DovetailError(
            f"{checkpoint.path}: tensor {tensor} has values beyond the range of {dtype.name}; "
            "choose another --dtype"
        )
    return converted


def _is_finite(values: np.ndarray) -> bool:
    """Without a temporary wider than the input."""
    if values.dtype == np.float32:
        return values.size == 0 or bool(np.isfinite([values.min(), values.max()]).all())
    # Exponent bits all set; numpy's min and max of 16-bit floats are ten times slower.
    exponent = np.uint16(0x7C00 if values.dtype == np.float16 else 0x7F80)
    return not np.any(values.view(np.uint16) & exponent == exponent)
