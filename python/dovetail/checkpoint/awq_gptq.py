# SPDX-License-Identifier: Apache-2.0
"""AWQ (AutoAWQ, version "gemm") and GPTQ (AutoGPTQ, GPTQModel) checkpoints: int4, with K first.

qweight  AWQ int32 [K, N/8]: nibble i of word c is column 8 c + (0, 2, 4, 6, 1, 3, 5, 7)[i]
         GPTQ int32 [K/8, N]: nibble i of word r is row 8 r + i
qzeros   int32 [K/G, N/8], packed along N: AWQ as qweight, GPTQ in order; GPTQ in its first
         format stores one less than the zero point
scales   [K/G, N]
g_idx    GPTQ int32 [K]: the group of a row; only k / G is supported (no activation order)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .. import data_types
from ..errors import DovetailError
from .config import Config
from .folder import Checkpoint
from .int4 import GROUP_SIZES, NO_ZERO_POINT, Int4Linear, check_group_size, check_scales
from .nibbles import unpack_columns

MARKER = "qweight"
SUFFIXES = ("qweight", "qzeros", "scales", "g_idx")
AWQ_PLACES = (0, 4, 1, 5, 2, 6, 3, 7)  # the nibble of column 0, 1, ... of a word


@dataclass(frozen=True)
class KFirstInt4(Int4Linear):
    def scales(self) -> np.ndarray:
        return np.ascontiguousarray(self.checkpoint.read(f"{self.module}.scales").T)

    def zero_points(self) -> np.ndarray | None:
        return self.stored_zero_points() if self.has_zero_points else None

    def stored_zero_points(self) -> np.ndarray:
        raise NotImplementedError

    def read(self, suffix: str) -> np.ndarray:
        return self.checkpoint.read(f"{self.module}.{suffix}")


class AwqInt4(KFirstInt4):
    def nibbles(self, start: int, stop: int) -> np.ndarray:
        first = start // 8
        rows = _awq_rows(self.read("qweight")[:, first : (stop + 7) // 8])
        return rows[start - 8 * first : stop - 8 * first]

    def stored_zero_points(self) -> np.ndarray:
        return _awq_rows(self.read("qzeros"))


@dataclass(frozen=True)
class GptqInt4(KFirstInt4):
    zero_point_offset: int

    def nibbles(self, start: int, stop: int) -> np.ndarray:
        words = np.ascontiguousarray(self.read("qweight")[:, start:stop].T)
        return unpack_columns(words, self.k)

    def stored_zero_points(self) -> np.ndarray:
        stored = unpack_columns(self.read("qzeros"), self.n).T
        return np.ascontiguousarray((stored + self.zero_point_offset) & 15)


def _awq_rows(words: np.ndarray) -> np.ndarray:
    """int32 [R, C] -> uint8 [8 C, R] of 0..15, one row a column of the weight."""
    columns = np.ascontiguousarray(words.T).view(np.uint32)
    rows = np.empty((columns.shape[0], 8, columns.shape[1]), np.uint8)
    for i, place in enumerate(AWQ_PLACES):
        rows[:, i] = columns >> np.uint32(4 * place) & np.uint32(15)
    return rows.reshape(-1, columns.shape[1])


def check_awq(section: Config) -> None:
    _expect(section, ("bits", "w_bit"), (4,))
    _expect(section, ("group_size", "q_group_size"), GROUP_SIZES)
    _expect(section, ("zero_point",), (True,), default=True)
    _expect(section, ("version",), ("gemm", "GEMM"), default="gemm")


def check_gptq(section: Config) -> None:
    _expect(section, ("bits",), (4,))
    _expect(section, ("group_size",), GROUP_SIZES)
    _expect(section, ("checkpoint_format",), ("gptq", "gptq_v2"), default="gptq")


def _expect(section: Config, keys: tuple[str, ...], choices: tuple, default: object = None) -> None:
    value = next((section.values[key] for key in keys if key in section.values), default)
    if not any(value == choice and type(value) is type(choice) for choice in choices):
        supported = " or ".join(str(choice) for choice in choices)
        raise DovetailError(f"{section.where}: {keys[0]} is {value}, supported is {supported}")


def open_awq(
    checkpoint: Checkpoint, module: str, n: int, k: int, section: Config | None
) -> Int4Linear:
    _expect_words(checkpoint, f"{module}.qweight", n, k, (k, n // 8))
    return _without_idle_zero_points(AwqInt4(*_common(checkpoint, module, n, k)))


def open_gptq(
    checkpoint: Checkpoint, module: str, n: int, k: int, section: Config | None
) -> Int4Linear:
    _expect_words(checkpoint, f"{module}.qweight", n, k, (k // 8, n))
    common = _common(checkpoint, module, n, k)
    group_size = common[4]
    index = f"{module}.g_idx"
    if index in checkpoint:
        checkpoint.expect(index, (k,), (data_types.INT32, data_types.INT64))
        if not np.array_equal(checkpoint.read(index), np.arange(k) // group_size):
            raise DovetailError(
                f"{checkpoint.path}: tensor {index} orders rows by activation (desc_act), which is "
                "not supported; quantize with desc_act false"
            )
    form = section.text("checkpoint_format", "gptq") if section else "gptq"
    return _without_idle_zero_points(GptqInt4(*common, 1 if form == "gptq" else 0))


def _expect_words(
    checkpoint: Checkpoint, tensor: str, n: int, k: int, shape: tuple[int, int]
) -> None:
    if n % 8 or k % 8:
        raise DovetailError(
            f"{checkpoint.path}: tensor {tensor} stands for [{n}, {k}], expected multiples of 8"
        )
    checkpoint.expect(tensor, shape, (data_types.INT32,))


def _common(checkpoint: Checkpoint, module: str, n: int, k: int) -> tuple:
    """The fields of Int4Linear, from tensors that are what they must be."""
    scale = checkpoint.entry(f"{module}.scales")
    groups = scale.shape[0] if len(scale.shape) == 2 and scale.shape[1] == n else 0
    expected = {g: [k // g, n] for g in GROUP_SIZES}
    group_size = check_group_size(checkpoint, scale.name, groups, k, expected)
    checkpoint.expect(scale.name, (groups, n), data_types.FLOATS)
    checkpoint.expect(f"{module}.qzeros", (groups, n // 8), (data_types.INT32,))
    check_scales(checkpoint, scale.name)
    return checkpoint, module, n, k, group_size, True, scale.dtype


def _without_idle_zero_points(linear: KFirstInt4) -> KFirstInt4:
    """Both formats store zero points always; where all are 8 the weight is symmetric."""
    if np.any(linear.stored_zero_points() != NO_ZERO_POINT):
        return linear
    fields = {name: getattr(linear, name) for name in type(linear).__dataclass_fields__}
    return type(linear)(**fields | {"has_zero_points": False})
