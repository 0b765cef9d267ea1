# SPDX-License-Identifier: Apache-2.0
"""The weight of one linear module, read by rows: plain floats, or int4 with scales and zero points.

N output features, K input features. Both kinds are checked when they are opened (names, shapes,
types; for int4 also that every scale is finite and not negative).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .. import data_types
from ..errors import DovetailError
from .folder import Checkpoint
from .int4 import Int4Linear
from .quantization import format_of


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


def open_linear(checkpoint: Checkpoint, module: str, n: int, k: int) -> FloatLinear | Int4Linear:
    """The weight of `module`, which the architecture says is [n, k]."""
    form = format_of(checkpoint.config)
    if f"{module}.{form.marker}" in checkpoint:
        return form.open(checkpoint, module, n, k)
    entry = checkpoint.expect(f"{module}.weight", (n, k), data_types.FLOATS)
    return FloatLinear(checkpoint, entry.name, n, k, entry.dtype)


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
