# SPDX-License-Identifier: Apache-2.0
"""The random checkpoints that goldens are recorded from: one small model per family and RoPE type.

Sizes are chosen so that a wrong reading of config.json cannot give the right logits: query, key
and value widths differ, qwen3's heads are wider than hidden / heads, mistral's window is shorter
than the prompt, llama3's RoPE has all three of its frequency bands inside the prompt. The llama
variants write config.json as transformers 4 does (rope_theta, rope_scaling, torch_dtype), the
other families as transformers 5 does (rope_parameters, dtype).
"""

from dataclasses import dataclass, field

import torch
from transformers import LlamaConfig, MistralConfig, PreTrainedConfig, Qwen2Config, Qwen3Config

BOS_ID, EOS_ID = 256, 257  # after the 256 bytes
HIDDEN = 128


@dataclass(frozen=True)
class Family:
    """`fields` go into config.json as they are; `quantized` names the int4 schemes to record."""

    name: str
    config_class: type[PreTrainedConfig]
    architecture: str
    seed: int
    vocab_size: int
    intermediate_size: int
    heads: tuple[int, int, int]  # Hq, Hk, D
    tied: bool
    fields: dict = field(default_factory=dict)
    quantized: tuple[str, ...] = ("int4",)

    def config(self) -> dict:
        hq, hk, d = self.heads
        # like most real files, head_dim is only there when it is not hidden / heads
        head_dim = {} if hq * d == HIDDEN else {"head_dim": d}
        dtype_key = "dtype" if "rope_parameters" in self.fields else "torch_dtype"
        return {
            "architectures": [self.architecture],
            "bos_token_id": BOS_ID,
            "eos_token_id": EOS_ID,
            dtype_key: "bfloat16",
            **head_dim,
            "hidden_act": "silu",
            "hidden_size": HIDDEN,
            "intermediate_size": self.intermediate_size,
            "max_position_embeddings": 256,
            "model_type": self.config_class.model_type,
            "num_attention_heads": hq,
            "num_hidden_layers": 2,
            "num_key_value_heads": hk,
            "rms_norm_eps": 1e-5,
            "tie_word_embeddings": self.tied,
            "use_cache": True,
            "vocab_size": self.vocab_size,
            **self.fields,
        }


FAMILIES = [
    Family(
        name="llama",
        config_class=LlamaConfig,
        architecture="LlamaForCausalLM",
        seed=65,
        vocab_size=288,
        intermediate_size=256,
        heads=(4, 2, 32),
        tied=False,
        fields={"rope_theta": 10000.0, "rope_scaling": None},
        quantized=("int4", "int4_asymmetric", "awq", "gptq"),
    ),
    Family(
        name="llama_rope_llama3",
        config_class=LlamaConfig,
        architecture="LlamaForCausalLM",
        seed=3,
        vocab_size=264,
        intermediate_size=128,
        heads=(4, 1, 32),
        tied=True,
        fields={
            "rope_theta": 10000.0,
            "rope_scaling": {
                "rope_type": "llama3",
                "factor": 8.0,
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
                "original_max_position_embeddings": 32,
            },
        },
        quantized=(),
    ),
    Family(
        name="llama_rope_linear",
        config_class=LlamaConfig,
        architecture="LlamaForCausalLM",
        seed=16,
        vocab_size=264,
        intermediate_size=128,
        heads=(2, 2, 64),
        tied=True,
        fields={"rope_theta": 10000.0, "rope_scaling": {"type": "linear", "factor": 4.0}},
        quantized=(),
    ),
    Family(
        name="mistral",
        config_class=MistralConfig,
        architecture="MistralForCausalLM",
        seed=5,
        vocab_size=264,
        intermediate_size=128,
        heads=(2, 1, 64),
        tied=True,
        fields={
            "sliding_window": 16,
            "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0},
        },
    ),
    Family(
        name="qwen2",
        config_class=Qwen2Config,
        architecture="Qwen2ForCausalLM",
        seed=1,
        vocab_size=264,
        intermediate_size=128,
        heads=(4, 2, 32),
        tied=True,
        fields={
            "rms_norm_eps": 1e-6,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1000000.0},
            "use_sliding_window": False,
        },
        quantized=("int4", "gptq_symmetric"),
    ),
    Family(
        name="qwen3",
        config_class=Qwen3Config,
        architecture="Qwen3ForCausalLM",
        seed=25,
        vocab_size=264,
        intermediate_size=128,
        heads=(4, 1, 64),
        tied=False,
        fields={
            "attention_bias": False,
            "rms_norm_eps": 1e-6,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1000000.0},
            "use_sliding_window": False,
        },
    ),
]


def randomize(model: torch.nn.Module, seed: int) -> None:
    """bf16-representable weights, large enough that attention is peaked and every norm matters.

    Matrices have a standard deviation of 1.5 / sqrt(K) (q and k 2.5: their scores get peaked),
    norm weights lie in [0.5, 1.5], biases have a standard deviation of 0.5. A tied embedding is
    small beside what the blocks add, or every token would predict itself.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in sorted(model.named_parameters()):
            values = torch.randn(weight.shape, generator=generator)
            if name.endswith("norm.weight"):
                values = torch.rand(weight.shape, generator=generator) + 0.5
            elif name.endswith("bias"):
                values *= 0.5
            elif name.endswith("embed_tokens.weight"):
                values *= 0.2 if model.config.tie_word_embeddings else 1.0
            else:
                peaked = name.endswith(("q_proj.weight", "k_proj.weight"))
                values *= (2.5 if peaked else 1.5) / weight.shape[1] ** 0.5
            weight.copy_(values.bfloat16())
