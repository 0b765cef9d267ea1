# SPDX-License-Identifier: Apache-2.0
"""Qwen2 and Qwen2.5: a bias on q, k and v; where switched on, a window on the upper layers."""

from .family import Family

FAMILY = Family(
    name="qwen2",
    architectures=("Qwen2ForCausalLM",),
    model_types=("qwen2",),
    qkv_bias=True,
    sliding_window="switched",
    defaults={"rope_theta": 10000.0, "rms_norm_eps": 1e-6, "hidden_act": "silu"},
)
