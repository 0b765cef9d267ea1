# SPDX-License-Identifier: Apache-2.0
"""quantization_config of a compressed-tensors checkpoint: what we write, what we accept.

Supported: format pack-quantized, 4-bit integer weights in groups of 32, 64 or 128 along K,
symmetric or with zero points, activations untouched. Everything else is refused by name.
"""

from __future__ import annotations

from typing import Any

from ..errors import DovetailError
from .config import Config

GROUP_SIZES = (32, 64, 128)
SUFFIXES = ("weight_packed", "weight_scale", "weight_shape", "weight_zero_point", "weight_g_idx")
SUPPORTED = (
    "supported is quant_method compressed-tensors, format pack-quantized, "
    "int4 groups of 32, 64, 128"
)


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


def is_quantized(config: Config) -> bool:
    """Whether config.json announces quantized weights; a format that we do not read is an error."""
    section = config.section("quantization_config") or config.section("compression_config")
    if section is None:
        return False
    method = section.text("quant_method", "compressed-tensors")
    if method != "compressed-tensors":
        raise DovetailError(f"{section.where}: quant_method is {method}; {SUPPORTED}")
    form = section.text("format", "absent")
    if form != "pack-quantized":
        raise DovetailError(f"{section.where}: format is {form}; {SUPPORTED}")
    groups = section.section("config_groups")
    for name in groups.values if groups else ():
        _check_group(groups.section(name) or Config({}, f"{groups.where}: {name}"))
    return True


def all_asymmetric(config: Config) -> bool:
    """Whether every group of weights is announced with zero points."""
    section = config.section("quantization_config") or config.section("compression_config")
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
