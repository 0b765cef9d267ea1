# SPDX-License-Identifier: Apache-2.0
"""What a decoder-only architecture family is, as data: one Family value per file of this folder.

Every family is the same pre-norm decoder: RMSNorm, attention with RoPE, RMSNorm, SwiGLU. A Family
says how the checkpoint names its tensors and which of the options below it has. `{i}` stands for
the layer number.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class TensorNames:
    """Module paths; a weight is `<path>.weight`, a bias `<path>.bias`."""

    embedding: str = "model.embed_tokens"
    final_norm: str = "model.norm"
    head: str = "lm_head"
    attention_norm: str = "model.layers.{i}.input_layernorm"
    q: str = "model.layers.{i}.self_attn.q_proj"
    k: str = "model.layers.{i}.self_attn.k_proj"
    v: str = "model.layers.{i}.self_attn.v_proj"
    o: str = "model.layers.{i}.self_attn.o_proj"
    q_norm: str = "model.layers.{i}.self_attn.q_norm"
    k_norm: str = "model.layers.{i}.self_attn.k_norm"
    kv_scales: str = "model.layers.{i}.self_attn"  # + .k_scale and .v_scale, optional
    mlp_norm: str = "model.layers.{i}.post_attention_layernorm"
    gate: str = "model.layers.{i}.mlp.gate_proj"
    up: str = "model.layers.{i}.mlp.up_proj"
    down: str = "model.layers.{i}.mlp.down_proj"


@dataclass(frozen=True)
class Family:
    name: str
    architectures: tuple[str, ...]  # `architectures` of config.json
    model_types: tuple[str, ...]  # `model_type` of config.json
    qkv_bias: bool = False  # q, k and v projections have a bias
    qk_norm: bool = False  # RMSNorm per head on q and k before RoPE
    # "none"; "all": `sliding_window` holds for every layer; "switched": only with
    # `use_sliding_window`, from layer `max_window_layers` on. `layer_types`, where present,
    # decides instead of the rule.
    sliding_window: str = "none"
    # What config.json may leave out, with the value of the family's reference configuration.
    defaults: dict[str, Any] = field(default_factory=dict)
    # Flags that change the graph in a way that is not supported: flag -> what it would add.
    refused_flags: dict[str, str] = field(default_factory=dict)
    tensors: TensorNames = TensorNames()
