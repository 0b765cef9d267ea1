# SPDX-License-Identifier: Apache-2.0
"""A Llama of random Q4_0 weights as a GGUF file (version 3), for llama-bench; no tokenizer needed.

GGUF: magic, version, counts; metadata as (key, type, value); per tensor name, dims (innermost
first), type, offset; then the data, each tensor aligned to 32 bytes. A Q4_0 block is an fp16 scale
and 16 bytes for 32 weights.
"""

import pathlib
import struct

import numpy as np

UINT32, FLOAT32, STRING = 4, 6, 8
TYPE_F32, TYPE_Q4_0 = 0, 2
ALIGNMENT = 32


def _string(text: str) -> bytes:
    return struct.pack("<Q", len(text)) + text.encode()


def _field(key: str, value: int | float | str) -> bytes:
    kind, packed = {
        int: lambda: (UINT32, struct.pack("<I", value)),
        float: lambda: (FLOAT32, struct.pack("<f", value)),
        str: lambda: (STRING, _string(value)),
    }[type(value)]()
    return _string(key) + struct.pack("<I", kind) + packed


def _tensors(hidden: int, layers: int, kv_width: int, ffn: int, vocabulary: int) -> dict:
    """name -> (inner, outer) of a Q4_0 matrix, or (inner,) of an fp32 vector."""
    tensors = {"token_embd.weight": (hidden, vocabulary), "output_norm.weight": (hidden,)}
    for i in range(layers):
        shapes = {
            "attn_norm": (hidden,),
            "attn_q": (hidden, hidden),
            "attn_k": (hidden, kv_width),
            "attn_v": (hidden, kv_width),
            "attn_output": (hidden, hidden),
            "ffn_norm": (hidden,),
            "ffn_gate": (hidden, ffn),
            "ffn_up": (hidden, ffn),
            "ffn_down": (ffn, hidden),
        }
        tensors |= {f"blk.{i}.{name}.weight": shape for name, shape in shapes.items()}
    return tensors


def write_random_llama(
    path: pathlib.Path,
    *,
    hidden: int,
    layers: int,
    q_heads: int,
    kv_heads: int,
    head_size: int,
    ffn: int,
    vocabulary: int,
) -> None:
    fields = {
        "general.architecture": "llama",
        "general.file_type": 2,
        "llama.block_count": layers,
        "llama.context_length": 8192,
        "llama.embedding_length": hidden,
        "llama.feed_forward_length": ffn,
        "llama.attention.head_count": q_heads,
        "llama.attention.head_count_kv": kv_heads,
        "llama.attention.layer_norm_rms_epsilon": 1e-5,
        "llama.rope.dimension_count": head_size,
        "llama.vocab_size": vocabulary,
        "tokenizer.ggml.model": "no_vocab",
    }
    tensors = _tensors(hidden, layers, kv_heads * head_size, ffn, vocabulary)
    header = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(fields))
    header += b"".join(_field(key, value) for key, value in fields.items())
    offset = 0
    for name, shape in tensors.items():
        kind = TYPE_F32 if len(shape) == 1 else TYPE_Q4_0
        header += _string(name) + struct.pack("<I", len(shape))
        header += struct.pack(f"<{len(shape)}QIQ", *shape, kind, offset)
        size = shape[0] * 4 if len(shape) == 1 else shape[0] * shape[1] // 32 * 18
        offset += -(-size // ALIGNMENT) * ALIGNMENT
    random = np.random.default_rng(3)
    with path.open("wb") as file:
        file.write(header.ljust(-(-len(header) // ALIGNMENT) * ALIGNMENT, b"\0"))
        for shape in tensors.values():
            if len(shape) == 1:
                data = np.ones(shape[0], np.float32).tobytes()
            else:
                blocks = np.empty((shape[0] * shape[1] // 32, 18), np.uint8)
                scales = np.full(len(blocks), 1 / (4.6 * np.sqrt(shape[0])), np.float16)
                blocks[:, :2] = scales.view(np.uint8).reshape(-1, 2)
                blocks[:, 2:] = np.frombuffer(random.bytes(len(blocks) * 16), np.uint8).reshape(
                    -1, 16
                )
                data = blocks.tobytes()
            file.write(data.ljust(-(-len(data) // ALIGNMENT) * ALIGNMENT, b"\0"))
