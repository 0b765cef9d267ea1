# SPDX-License-Identifier: Apache-2.0
"""A package of Llama-3.2-1B's shape with random int4 weights, made by `dovetail export` itself.

The checkpoint is written first (compressed-tensors, groups of 128, an int4 head of its own and a
16-bit embedding), then exported; both need about a minute and 2 GB in .cache, and are kept there.
The tokenizer is a byte-level BPE of the same size whose merges are random too: loading it costs
what a real one costs.
"""

import json
import pathlib
import shutil

import numpy as np

REPOSITORY = pathlib.Path(__file__).resolve().parents[1]
FOLDER = REPOSITORY / ".cache" / "random-llama-package"
HIDDEN, LAYERS, Q_HEADS, KV_HEADS, HEAD_SIZE, FFN, VOCABULARY = 2048, 16, 32, 8, 64, 8192, 128256
GROUP, CAPACITY = 128, 1024
VERSION = 1  # of what is written here; another one is made anew


def _linears() -> dict[str, tuple[int, int]]:
    shapes = {"lm_head": (VOCABULARY, HIDDEN)}
    for i in range(LAYERS):
        prefix = f"model.layers.{i}."
        shapes |= {
            f"{prefix}self_attn.q_proj": (Q_HEADS * HEAD_SIZE, HIDDEN),
            f"{prefix}self_attn.k_proj": (KV_HEADS * HEAD_SIZE, HIDDEN),
            f"{prefix}self_attn.v_proj": (KV_HEADS * HEAD_SIZE, HIDDEN),
            f"{prefix}self_attn.o_proj": (HIDDEN, Q_HEADS * HEAD_SIZE),
            f"{prefix}mlp.gate_proj": (FFN, HIDDEN),
            f"{prefix}mlp.up_proj": (FFN, HIDDEN),
            f"{prefix}mlp.down_proj": (HIDDEN, FFN),
        }
    return shapes


def _write_checkpoint(folder: pathlib.Path) -> None:
    from dovetail import data_types
    from dovetail.checkpoint.compressed_tensors import config_section
    from dovetail.checkpoint.writer import CheckpointWriter, Declared

    random = np.random.default_rng(7)
    norms = ["model.norm.weight"]
    for i in range(LAYERS):
        norms += [f"model.layers.{i}.{n}.weight" for n in ("input_layernorm",
                                                           "post_attention_layernorm")]
    declared = [Declared("model.embed_tokens.weight", data_types.FP16, (VOCABULARY, HIDDEN))]
    declared += [Declared(name, data_types.FP16, (HIDDEN,)) for name in norms]
    for name, (n, k) in _linears().items():
        declared += [
            Declared(f"{name}.weight_packed", data_types.INT32, (n, k // 8)),
            Declared(f"{name}.weight_scale", data_types.FP16, (n, k // GROUP)),
        ]
    with CheckpointWriter(folder, declared) as writer:
        for _ in range(VOCABULARY // 64):
            writer.write("model.embed_tokens.weight", random.standard_normal((64, HIDDEN)) * 0.05)
        for name in norms:
            writer.write(name, np.ones(HIDDEN))
        for name, (n, k) in _linears().items():
            words = np.frombuffer(random.bytes(n * k // 2), np.int32).reshape(n, k // 8)
            writer.write(f"{name}.weight_packed", words)
            spread = random.uniform(0.5, 1.5, (n, k // GROUP)) / (4.6 * np.sqrt(k))
            writer.write(f"{name}.weight_scale", spread)
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": HIDDEN,
        "intermediate_size": FFN,
        "vocab_size": VOCABULARY,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": Q_HEADS,
        "num_key_value_heads": KV_HEADS,
        "head_dim": HEAD_SIZE,
        "rms_norm_eps": 1e-5,
        "rope_theta": 500000.0,
        "hidden_act": "silu",
        "tie_word_embeddings": False,
        "max_position_embeddings": 8192,
        "bos_token_id": 0,
        "eos_token_id": [1],
        "quantization_config": config_section(GROUP, False, []),
    }
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "tokenizer.json").write_text(json.dumps(_tokenizer()))


def _tokenizer() -> dict:
    """256 bytes, then merges of two random earlier tokens, each giving a token that is new."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    alphabet = [chr(b) for b in printable] + [chr(256 + i) for i in range(256 - len(printable))]
    tokens, merges, known = list(alphabet), [], set(alphabet)
    random = np.random.default_rng(8)
    while len(tokens) < VOCABULARY:
        a, b = (tokens[int(i)] for i in random.integers(0, len(tokens), 2))
        if len(a) + len(b) <= 12 and a + b not in known:
            known.add(a + b)
            tokens.append(a + b)
            merges.append([a, b])
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True,
             "use_regex": True}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [],
        "normalizer": None,
        "pre_tokenizer": level,
        "post_processor": level,
        "decoder": level,
        "model": {"type": "BPE", "dropout": None, "unk_token": None,
                  "continuing_subword_prefix": None, "end_of_word_suffix": None,
                  "fuse_unk": False, "byte_fallback": False,
                  "vocab": {token: i for i, token in enumerate(tokens)}, "merges": merges},
    }


def random_package(dtype: str = "fp32") -> pathlib.Path:
    """The package's folder; made when it is missing or the exporter has changed."""
    from dovetail import __version__
    from dovetail.export import ExportOptions, export

    checkpoint, package = FOLDER / f"checkpoint-{VERSION}", FOLDER / f"{dtype}-{VERSION}"
    if not (checkpoint / "complete").exists():
        shutil.rmtree(FOLDER, ignore_errors=True)
        checkpoint.mkdir(parents=True)
        _write_checkpoint(checkpoint)
        (checkpoint / "complete").touch()
    stamp = FOLDER / f"{package.name}.exporter"
    exporter = f"{__version__} {_newest_source()}"
    if not stamp.exists() or stamp.read_text() != exporter:
        export(checkpoint, package, ExportOptions("onnxruntime", dtype, CAPACITY, replace=True))
        stamp.write_text(exporter)
    return package


def _newest_source() -> int:
    sources = (REPOSITORY / "python" / "dovetail").rglob("*.py")
    return max(path.stat().st_mtime_ns for path in sources)
