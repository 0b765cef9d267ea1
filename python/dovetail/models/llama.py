# SPDX-License-Identifier: Apache-2.0
"""Llama 2, 3, 3.1, 3.2 and everything that saves itself as LlamaForCausalLM."""

from .family import Family

FAMILY = Family(
    name="llama",
    architectures=("LlamaForCausalLM",),
    model_types=("llama",),
    defaults={"rope_theta": 10000.0, "rms_norm_eps": 1e-6, "hidden_act": "silu"},
    refused_flags={
        "attention_bias": "a bias on q_proj, k_proj, v_proj and o_proj",
        "mlp_bias": "a bias on gate_proj, up_proj and down_proj",
    },
)
