# SPDX-License-Identifier: Apache-2.0
"""Qwen3 (dense): RMSNorm per head on q and k, no bias, a head size of its own."""

from .family import Family

FAMILY = Family(
    name="qwen3",
    architectures=("Qwen3ForCausalLM",),
    model_types=("qwen3",),
    qk_norm=True,
    sliding_window="switched",
    defaults={"rope_theta": 10000.0, "rms_norm_eps": 1e-6, "hidden_act": "silu", "head_dim": 128},
    refused_flags={"attention_bias": "a bias on q_proj, k_proj, v_proj and o_proj"},
)
