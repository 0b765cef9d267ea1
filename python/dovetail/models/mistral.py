# SPDX-License-Identifier: Apache-2.0
"""Mistral 7B and its dense successors: Llama with an optional sliding window on every layer."""

from .family import Family

FAMILY = Family(
    name="mistral",
    architectures=("MistralForCausalLM",),
    model_types=("mistral",),
    sliding_window="all",
    defaults={"rope_theta": 10000.0, "rms_norm_eps": 1e-6, "hidden_act": "silu"},
)
