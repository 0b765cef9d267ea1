# SPDX-License-Identifier: Apache-2.0
"""Small random checkpoints for tests, written with the safetensors package and not with our writer.

Also the decoding of int4 tensors straight from the bit table of the pack-quantized convention,
written apart from the product's code.
"""

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

REPOSITORY = Path(__file__).resolve().parents[2]
GOLDENS = REPOSITORY / "tests" / "oracle" / "goldens"
TINY = REPOSITORY / "models" / "tiny" / "checkpoint"
SEED = 11

LINEARS = {
    "self_attn.q_proj": (128, 128),
    "self_attn.k_proj": (64, 128),
    "self_attn.v_proj": (64, 128),
    "self_attn.o_proj": (128, 128),
    "mlp.gate_proj": (256, 128),
    "mlp.up_proj": (256, 128),
    "mlp.down_proj": (128, 256),
}
LAYERS, VOCABULARY, HIDDEN = 2, 200, 128


def config(**changes) -> dict:
    """A llama config.json; a value of None removes the key."""
    values = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": HIDDEN,
        "intermediate_size": 256,
        "vocab_size": VOCABULARY,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "hidden_act": "silu",
        "tie_word_embeddings": False,
        "max_position_embeddings": 256,
        "bos_token_id": 1,
        "eos_token_id": [2, 3],
    } | changes
    return {key: value for key, value in values.items() if value is not None}


def tensors(dtype=np.float32, seed: int = SEED) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)

    def weight(*shape: int) -> np.ndarray:
        return (random.standard_normal(shape) * 0.08).astype(dtype)

    result = {"model.embed_tokens.weight": weight(VOCABULARY, HIDDEN)}
    result["lm_head.weight"] = weight(VOCABULARY, HIDDEN)
    result["model.norm.weight"] = np.ones(HIDDEN, dtype)
    for i in range(LAYERS):
        prefix = f"model.layers.{i}."
        for module, shape in LINEARS.items():
            result[f"{prefix}{module}.weight"] = weight(*shape)
        for norm in ("input_layernorm", "post_attention_layernorm"):
            result[f"{prefix}{norm}.weight"] = np.ones(HIDDEN, dtype)
    return result


def write(folder: Path, values: dict | None = None, settings: dict | None = None) -> Path:
    """A checkpoint with one file."""
    folder.mkdir(parents=True)
    save_file(tensors() if values is None else values, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(config() if settings is None else settings))
    return folder


def write_sharded(folder: Path, values: dict) -> Path:
    """The same in two shards with an index."""
    folder.mkdir(parents=True)
    names = sorted(values)
    shards = {
        "model-00001-of-00002.safetensors": names[: len(names) // 2],
        "model-00002-of-00002.safetensors": names[len(names) // 2 :],
    }
    for file, part in shards.items():
        save_file({name: values[name] for name in part}, folder / file)
    weight_map = {name: file for file, part in shards.items() for name in part}
    index = {"metadata": {}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    (folder / "config.json").write_text(json.dumps(config()))
    return folder


def load(folder: Path) -> dict[str, np.ndarray]:
    result = {}
    for file in sorted(folder.glob("*.safetensors")):
        result |= load_file(file)
    return result


def load_json(path: Path) -> dict:
    return json.loads(path.read_text())


def load_model_tensors(folder: Path) -> dict[str, np.ndarray]:
    """Of a golden folder, whose golden.safetensors is not part of the checkpoint."""
    return load_file(folder / "model.safetensors")


def decode_int4(parts: dict[str, np.ndarray], module: str) -> np.ndarray:
    """fp64 [N, K]. Nibble i of word c: column 8c + i; of zero-point word r: row 8r + i; + 8."""
    n, k = parts[f"{module}.weight_shape"].tolist()
    scales = parts[f"{module}.weight_scale"].astype(np.float64)
    words = parts[f"{module}.weight_packed"].astype(np.int64)
    values = np.empty((n, k))
    for i in range(8):
        values[:, i::8] = (words >> 4 * i & 15) - 8
    group = k // scales.shape[1]
    if f"{module}.weight_zero_point" in parts:
        words = parts[f"{module}.weight_zero_point"].astype(np.int64)
        zero_points = np.empty((words.shape[0] * 8, words.shape[1]))
        for i in range(8):
            zero_points[i::8] = (words >> 4 * i & 15) - 8
        values -= np.repeat(zero_points[:n], group, axis=1)
    return values * np.repeat(scales, group, axis=1)
