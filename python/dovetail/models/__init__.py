# SPDX-License-Identifier: Apache-2.0
"""The architecture families, found by the `architectures` or `model_type` of config.json."""

from __future__ import annotations

import numpy as np

from ..checkpoint import Checkpoint, Config
from ..checkpoint.quantization import format_of
from ..errors import DovetailError
from . import llama, mistral, qwen2, qwen3
from .family import Family
from .model import Model, read_model

FAMILIES: tuple[Family, ...] = (llama.FAMILY, mistral.FAMILY, qwen2.FAMILY, qwen3.FAMILY)

# Buffers that older exporters saved beside the weights; they follow from config.json.
IGNORED_ENDINGS = ("rotary_emb.inv_freq",)

__all__ = ["FAMILIES", "Family", "Model", "find_family", "load_model"]


def find_family(config: Config) -> Family:
    names = config.strings("architectures")
    for family in FAMILIES:
        if any(name in family.architectures for name in names):
            return family
    model_type = config.text("model_type", None)
    if not names:
        for family in FAMILIES:
            if model_type in family.model_types:
                return family
    supported = ", ".join(name for family in FAMILIES for name in family.architectures)
    found = ", ".join(names) or f"model_type {model_type}"
    raise DovetailError(
        f"{config.where}: architecture {found} is not supported; supported are {supported}"
    )


def load_model(checkpoint: Checkpoint) -> Model:
    """The checked model of a checkpoint. A tensor that the graph would drop is an error."""
    model = read_model(checkpoint.config, find_family(checkpoint.config))
    known = _tensor_names(model, format_of(checkpoint.config).suffixes)
    for name in checkpoint:
        if name in known or name.endswith(IGNORED_ENDINGS) or _is_idle_bias(checkpoint, name):
            continue
        raise DovetailError(
            f"{checkpoint.path}: tensor {name} is not supported in a {model.family.name} model"
        )
    return model


def _is_idle_bias(checkpoint: Checkpoint, name: str) -> bool:
    """A bias of zeros: AutoGPTQ saves one beside every weight of models that have none."""
    return name.endswith(".bias") and not np.any(checkpoint.read(name))


def _tensor_names(model: Model, suffixes: tuple[str, ...]) -> set[str]:
    t = model.family.tensors
    names = {f"{t.embedding}.weight", f"{t.final_norm}.weight", f"{t.head}.weight"}
    kinds = (*suffixes, "weight")
    names |= {f"{m}.{kind}" for m, _, _ in model.quantizable() for kind in kinds}
    norms = [t.attention_norm, t.mlp_norm] + ([t.q_norm, t.k_norm] if model.family.qk_norm else [])
    for i in range(model.layers):
        names |= {f"{norm.format(i=i)}.weight" for norm in norms}
        names |= {f"{t.kv_scales.format(i=i)}.{kind}" for kind in ("k_scale", "v_scale")}
        if model.family.qkv_bias:
            names |= {f"{m.format(i=i)}.bias" for m in (t.q, t.k, t.v)}
    return names
