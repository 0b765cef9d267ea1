# SPDX-License-Identifier: Apache-2.0
"""The formats of int4 checkpoints, by quant_method of config.json's quantization_config."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..errors import DovetailError
from . import awq_gptq, compressed_tensors
from .config import Config
from .folder import Checkpoint
from .int4 import Int4Linear


@dataclass(frozen=True)
class Format:
    marker: str  # a module with <module>.<marker> is quantized
    suffixes: tuple[str, ...]  # of its tensors
    check: Callable[[Config], None]  # refuses, by name, what is not read
    _open: Callable[[Checkpoint, str, int, int, Config | None], Int4Linear]

    def open(self, checkpoint: Checkpoint, module: str, n: int, k: int) -> Int4Linear:
        return self._open(checkpoint, module, n, k, _section(checkpoint.config))


DEFAULT = "compressed-tensors"
FORMATS = {
    DEFAULT: Format(
        compressed_tensors.MARKER,
        compressed_tensors.SUFFIXES,
        compressed_tensors.check,
        compressed_tensors.open_packed,
    ),
    "awq": Format(awq_gptq.MARKER, awq_gptq.SUFFIXES, awq_gptq.check_awq, awq_gptq.open_awq),
    "gptq": Format(awq_gptq.MARKER, awq_gptq.SUFFIXES, awq_gptq.check_gptq, awq_gptq.open_gptq),
}


def is_quantized(config: Config) -> bool:
    """Whether config.json announces quantized weights; a format that we do not read is an error."""
    section = _section(config)
    if section is not None:
        format_of(config).check(section)
    return section is not None


def format_of(config: Config) -> Format:
    """The announced format, or the one that needs no announcement."""
    section = _section(config)
    method = section.text("quant_method", DEFAULT) if section else DEFAULT
    if method not in FORMATS:
        supported = ", ".join(FORMATS)
        where = section.where if section else ""
        raise DovetailError(f"{where}: quant_method is {method}, supported is {supported}")
    return FORMATS[method]


def _section(config: Config) -> Config | None:
    return config.section("quantization_config") or config.section("compression_config")
