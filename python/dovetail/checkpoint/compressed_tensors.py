# SPDX-License-Identifier: Apache-2.0
"""compressed-tensors checkpoints: what we write, what we accept.

Supported: format pack-quantized (nibbles.py), 4-bit integer weights in groups of 32, 64 or 128
along K, symmetric or with zero points, activations untouched. Everything else is refused by name.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import data_types
from ..errors import DovetailError
from .config import Config
from .folder import Checkpoint
from .int4 import GROUP_SIZES, Int4Linear, check_group_size, check_scales
from .nibbles import unpack_columns, unpack_rows

MARKER = "weight_packed"
SUFFIXES = ("weight_packed", "weight_scale", "weight_shape", "weight_zero_point", "weight_g_idx")
SUPPORTED = "supported is format pack-quantized, int4 groups of 32, 64, 128"


@dataclass(frozen=True)
class PackedInt4(Int4Linear):
    def nibbles(self, start: int, stop: int) -> np.ndarray:
        packed = self.checkpoint.read_rows(f"{self.module}.weight_packed", start, stop)
        return unpack_columns(packed, self.k)

    def scales(self) -> np.ndarray:
        return self.checkpoint.read(f"{self.module}.weight_scale")

    def zero_points(self) -> np.ndarray | None:
        if not self.has_zero_points:
            return None
        return unpack_rows(self.checkpoint.read(f"{self.module}.weight_zero_point"), self.n)


def config_section(group_size: int, asymmetric: bool, ignored: list[str]) -> dict[str, Any]:
    weights = {
        "num_bits": 4,
        "type": "int",
        "symmetric": not asymmetric,
        "strategy": "group",
        "group_size": group_size,
        "block_structure": None,
        "dynamic": False,
        "actorder": None,
        "observer": "mse",
        "observer_kwargs": {},
    }
    group = {
        "targets": ["Linear"],
        "weights": weights,
        "input_activations": None,
        "output_activations": None,
    }
    return {
        "quant_method": "compressed-tensors",
        "format": "pack-quantized",
        "quantization_status": "compressed",
        "global_compression_ratio": None,
        "kv_cache_scheme": None,
        "config_groups": {"group_0": group},
        "ignore": ignored,
    }


def check(section: Config) -> None:
    """A quantization_config that we do not read is an error."""
    form = section.text("format", "absent")
    if form != "pack-quantized":
        raise DovetailError(f"{section.where}: format is {form}; {SUPPORTED}")
    groups = section.section("config_groups")
    for name in groups.values if groups else ():
        _check_group(groups.section(name) or Config({}, f"{groups.where}: {name}"))


def _all_asymmetric(section: Config | None) -> bool:
    """Whether every group of weights is announced with zero points."""
    groups = section.section("config_groups") if section else None
    schemes = [groups.section(name) for name in groups.values] if groups else []
    weights = [scheme.section("weights") for scheme in schemes if scheme]
    return bool(weights) and all(
        w is not None and w.values.get("symmetric") is False for w in weights
    )


def _check_group(group: Config) -> None:
    if group.values.get("input_activations") is not None:
        raise DovetailError(
            f"{group.where}: input_activations are quantized, which is not supported; {SUPPORTED}"
        )
    weights = group.section("weights")
    if weights is None:
        raise DovetailError(f"{group.where}: weights is missing")
    expected = {
        "num_bits": (4,),
        "type": ("int", None),
        "strategy": ("group",),
        "group_size": GROUP_SIZES,
    }
    for key, choices in expected.items():
        if weights.values.get(key) not in choices:
            raise DovetailError(f"{weights.where}: {key} is {weights.values.get(key)}; {SUPPORTED}")
    if weights.values.get("actorder") in ("group", "dynamic", True):
        raise DovetailError(
            f"{weights.where}: actorder {weights.values['actorder']} (weight_g_idx) is not "
            "supported"
        )


def open_packed(
    checkpoint: Checkpoint, module: str, n: int, k: int, section: Config | None
) -> Int4Linear:
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
    groups = scale.shape[1] if len(scale.shape) == 2 and scale.shape[0] == n else 0
    expected = {g: [n, k // g] for g in GROUP_SIZES}
    group_size = check_group_size(checkpoint, scale.name, groups, k, expected)
    checkpoint.expect(scale.name, (n, groups), data_types.FLOATS)
    zero_point = f"{module}.weight_zero_point"
    if zero_point in checkpoint:
        checkpoint.expect(zero_point, ((n + 7) // 8, groups), (data_types.INT32,))
    elif _all_asymmetric(section):
        raise DovetailError(
            f"{checkpoint.path}: tensor {zero_point} is missing, and config.json says that weights "
            "are asymmetric"
        )
    check_scales(checkpoint, scale.name)
    return PackedInt4(checkpoint, module, n, k, group_size, zero_point in checkpoint, scale.dtype)
