# SPDX-License-Identifier: Apache-2.0
"""Rotary position embedding: what config.json asks for, and the cos/sin table.

f_j = theta^(-2j/R) for j = 0..R/2-1, R the rotary width (Su et al. 2021, arXiv 2104.09864).
  default  f_j
  linear   f_j / factor (Chen et al. 2023, position interpolation, arXiv 2306.15595)
  llama3   by wavelength w = 2 pi / f against the original context length L: w below
           L / high_freq_factor keeps f, w above L / low_freq_factor becomes f / factor, in between
           the two are mixed with s = (L / w - low) / (high - low) (as released with Llama 3.1)
The table is computed in fp64 and stored as fp32, row = position: R/2 cosines, then R/2 sines.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ..checkpoint import Config
from ..errors import DovetailError

TYPES = ("default", "linear", "llama3")
ROWS_PER_CHUNK = 4096


@dataclass(frozen=True)
class Rope:
    type: str
    theta: float
    width: int  # R
    factor: float = 1.0
    low_freq_factor: float = 1.0
    high_freq_factor: float = 1.0
    original_length: int = 0

    def frequencies(self) -> np.ndarray:
        j = np.arange(self.width // 2, dtype=np.float64)
        f = self.theta ** (-2.0 * j / self.width)
        if self.type == "linear":
            return f / self.factor
        if self.type == "llama3":
            turns = self.original_length * f / (2.0 * math.pi)  # L / w
            low, high = self.low_freq_factor, self.high_freq_factor
            smooth = np.clip((turns - low) / (high - low), 0.0, 1.0)
            return (1.0 - smooth) * f / self.factor + smooth * f
        return f

    def table(self, capacity: int) -> Iterator[np.ndarray]:
        """Rows of the [capacity, R] table, in chunks."""
        frequencies = self.frequencies()
        for start in range(0, capacity, ROWS_PER_CHUNK):
            positions = np.arange(start, min(start + ROWS_PER_CHUNK, capacity), dtype=np.float64)
            angles = positions[:, None] * frequencies
            yield np.concatenate([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


def read_rope(config: Config, head_size: int, default_theta: float) -> Rope:
    """Reads `rope_parameters` (transformers 5) or `rope_scaling` with `rope_theta` (before)."""
    section = config.section("rope_parameters") or config.section("rope_scaling")
    parameters = section or Config({}, config.where)
    if any(isinstance(value, dict) for value in parameters.values.values()):
        raise DovetailError(f"{parameters.where}: one table per layer type is not supported")
    theta = parameters.number("rope_theta", None) or config.number("rope_theta", default_theta)
    kind = parameters.text("rope_type", None) or parameters.text("type", None)
    if kind is None:
        if parameters.values.keys() - {"rope_theta", "partial_rotary_factor"}:
            raise DovetailError(f"{parameters.where}: rope_type is missing")
        kind = "default"
    if kind not in TYPES:
        raise DovetailError(
            f"{parameters.where}: rope_type {kind} is not supported; supported are "
            + ", ".join(TYPES)
        )
    partial = parameters.number("partial_rotary_factor", None) or config.number(
        "partial_rotary_factor", 1.0
    )
    if partial != 1.0:
        raise DovetailError(
            f"{parameters.where}: partial_rotary_factor {partial} is not supported, only 1.0"
        )
    if head_size % 2:
        raise DovetailError(f"{config.where}: head size {head_size} is odd; RoPE needs an even one")
    if kind == "default":
        return Rope(kind, theta, head_size)
    factor = parameters.number("factor")
    if kind == "linear":
        return Rope(kind, theta, head_size, factor)
    rope = Rope(
        kind,
        theta,
        head_size,
        factor,
        parameters.number("low_freq_factor"),
        parameters.number("high_freq_factor"),
        parameters.integer("original_max_position_embeddings"),
    )
    if rope.high_freq_factor <= rope.low_freq_factor:
        raise DovetailError(
            f"{parameters.where}: high_freq_factor is {rope.high_freq_factor}, expected more than "
            f"low_freq_factor = {rope.low_freq_factor}"
        )
    return rope
