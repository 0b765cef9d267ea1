# SPDX-License-Identifier: Apache-2.0
"""AttentionPlugin beside GroupQueryAttention (RoPE inside, packed QKV, cache in place), batch 1,
32 query and 8 KV heads. Ours: fp32 activations over an fp16 cache. The peer has one type for both,
so it runs in fp32 and in fp16, and the bar is the faster of the two."""

from collections.abc import Callable, Iterator

import numpy as np

import timing
from graphs import Graph

Run = Callable[[], None]
OURS, PEER32, PEER16 = "dovetail", "GroupQueryAttention fp32", "GroupQueryAttention fp16"
Q_HEADS, KV_HEADS = 32, 8
CASES = [
    ("decode", 1, 1024),
    ("decode", 1, 2048),
    ("decode", 1, 8192),
    ("8 tokens", 8, 2048),
    ("prefill", 512, 0),
    ("prefill", 2048, 0),
]  # name, new tokens, past
COLD_BYTES = 128e6  # of fp16 cache over all layers
# The fp16 cache rounds K and V, the fp16 peer everything.
STORAGE_ERROR = {OURS: 2e-3, PEER32: 1e-5, PEER16: 1e-2}


def rope_table(rows: int, width: int) -> np.ndarray:
    angles = np.outer(np.arange(rows), 10000.0 ** (-np.arange(0, width, 2) / width))
    return np.concatenate([np.cos(angles), np.sin(angles)], 1).astype(np.float32)


def add_ours(graph: Graph, name: str, qkv: str, past: str, head_size: int) -> str:
    return graph.node(
        "AttentionPlugin",
        [qkv, past, "lengths", "rope", "start"],
        [name, f"{name}.cache"],
        "trt",
        num_q_heads=Q_HEADS,
        num_kv_heads=KV_HEADS,
        head_size=head_size,
        enable_tree_attention=0,
    )


def add_peer(graph: Graph, name: str, qkv: str, key: str, value: str) -> str:
    return graph.node(
        "GroupQueryAttention",
        [qkv, "", "", key, value, "seqlens_k", "total", "cos", "sin"],
        [name, f"{name}.key", f"{name}.value"],
        "com.microsoft",
        num_heads=Q_HEADS,
        kv_num_heads=KV_HEADS,
        do_rotary=1,
    )


def _ours(
    threads: int,
    head_size: int,
    qkv: np.ndarray,
    caches: list[np.ndarray],
    past: int,
    table: np.ndarray,
) -> tuple[Run, list[np.ndarray]]:
    graph = Graph()
    tokens = qkv.shape[1]
    graph.input("qkv", np.float32, [1, tokens, qkv.shape[2]])
    graph.input("lengths", np.int32, [1])
    graph.input("rope", np.float32, [1, *table.shape])
    graph.input("start", np.int32, ["N"])
    outputs = {}
    inputs = {
        "qkv": qkv,
        "rope": table[None],
        "start": np.full(1 if past else 0, past, np.int32),
        "lengths": np.array([past + 1 if tokens == 1 else tokens], np.int32),
    }
    for i, cache in enumerate(caches):
        graph.input(f"past{i}", np.float16, list(cache.shape))
        add_ours(graph, f"y{i}", "qkv", f"past{i}", head_size)
        graph.output(f"y{i}", np.float32)
        graph.output(f"y{i}.cache", np.float16)
        inputs[f"past{i}"] = outputs[f"y{i}.cache"] = cache.copy()
        outputs[f"y{i}"] = np.zeros((1, tokens, Q_HEADS, head_size), np.float32)
    run = graph.session(threads).bind(inputs, outputs)
    return run, [outputs[f"y{i}"] for i in range(len(caches))]


def _peer(
    threads: int,
    dtype,
    head_size: int,
    qkv: np.ndarray,
    caches: list[np.ndarray],
    past: int,
    table: np.ndarray,
) -> tuple[Run, list[np.ndarray]]:
    graph = Graph()
    tokens, half = qkv.shape[1], table.shape[1] // 2
    graph.input("qkv", dtype, [1, tokens, qkv.shape[2]])
    graph.input("seqlens_k", np.int32, [1])
    graph.input("total", np.int32, [])
    graph.input("cos", dtype, [len(table), half])
    graph.input("sin", dtype, [len(table), half])
    outputs = {}
    inputs = {
        "qkv": qkv.astype(dtype),
        "seqlens_k": np.array([past + tokens - 1], np.int32),
        "total": np.array(past + tokens, np.int32),
        "cos": np.ascontiguousarray(table[:, :half]).astype(dtype),
        "sin": np.ascontiguousarray(table[:, half:]).astype(dtype),
    }
    for i, cache in enumerate(caches):
        for part, name in enumerate(("key", "value")):
            graph.input(f"{name}{i}", dtype, [1, *cache.shape[2:]])
            inputs[f"{name}{i}"] = np.ascontiguousarray(cache[:, part]).astype(dtype)
        add_peer(graph, f"y{i}", "qkv", f"key{i}", f"value{i}")
        graph.output(f"y{i}", dtype)
        outputs[f"y{i}"] = np.zeros((1, tokens, Q_HEADS * head_size), dtype)
        for name in ("key", "value"):
            graph.output(f"y{i}.{name}", dtype)
            outputs[f"y{i}.{name}"] = inputs[f"{name}{i}"]
    run = graph.session(threads).bind(inputs, outputs)
    return run, [outputs[f"y{i}"] for i in range(len(caches))]


def _expected(
    qkv: np.ndarray, cache: np.ndarray, past: int, table: np.ndarray, head_size: int
) -> np.ndarray:
    """The last token of the call in fp64, [Hq, D]."""
    tokens, half = qkv.shape[1], head_size // 2
    heads = qkv[0].astype(np.float64).reshape(tokens, Q_HEADS + 2 * KV_HEADS, head_size)
    rows = table[past : past + tokens, None].astype(np.float64)
    low, high = heads[..., :half], heads[..., half:]
    turned = np.concatenate(
        [
            low * rows[..., :half] - high * rows[..., half:],
            high * rows[..., :half] + low * rows[..., half:],
        ],
        -1,
    )
    keys = np.concatenate(
        [cache[0, 0, :, :past], turned[:, Q_HEADS:-KV_HEADS].transpose(1, 0, 2)], 1
    )
    values = np.concatenate([cache[0, 1, :, :past], heads[:, -KV_HEADS:].transpose(1, 0, 2)], 1)
    out = np.empty((Q_HEADS, head_size))
    for h in range(Q_HEADS):
        kv = h * KV_HEADS // Q_HEADS
        scores = keys[kv] @ turned[-1, h] / np.sqrt(head_size)
        weights = np.exp(scores - scores.max())
        out[h] = weights @ values[kv] / weights.sum()
    return out


def measure(threads: int, quick: bool) -> Iterator[dict]:
    for head_size in (128,) if quick else (64, 128):
        for name, tokens, past in [CASES[2], CASES[4]] if quick else CASES:
            random = np.random.default_rng(past + tokens)
            capacity = past + tokens + 15
            layer_bytes = 2 * 2 * KV_HEADS * capacity * head_size
            layers = 2 if tokens > 8 else max(4, round(COLD_BYTES / layer_bytes))
            caches = [
                random.standard_normal((1, 2, KV_HEADS, capacity, head_size), np.float32).astype(
                    np.float16
                )
                for _ in range(layers)
            ]
            qkv = random.standard_normal(
                (1, tokens, (Q_HEADS + 2 * KV_HEADS) * head_size), np.float32
            )
            table = rope_table(capacity, head_size)
            sides = {
                OURS: _ours(threads, head_size, qkv, caches, past, table),
                PEER32: _peer(threads, np.float32, head_size, qkv, caches, past, table),
                PEER16: _peer(threads, np.float16, head_size, qkv, caches, past, table),
            }
            errors = {}
            expected = [_expected(qkv, caches[i], past, table, head_size) for i in (0, -1)]
            for side, (run, outputs) in sides.items():
                run()
                last = [outputs[i][0, -1].reshape(Q_HEADS, head_size) for i in (0, -1)]
                errors[side] = float(
                    np.linalg.norm(np.subtract(last, expected)) / np.linalg.norm(expected)
                )
                if not errors[side] < STORAGE_ERROR[side]:
                    raise SystemExit(
                        f"{side}: relative error {errors[side]:.3g} in {name} {past + tokens}, "
                        f"D {head_size}, expected below {STORAGE_ERROR[side]}"
                    )
            times = timing.alternate(
                {side: run for side, (run, _) in sides.items()}, 0.5 if quick else 1.5
            )
            mean_keys = past + (tokens + 1) / 2
            yield {
                "shape": f"{name}, past {past}, D {head_size}"
                if past
                else f"{name} {tokens}, D {head_size}",
                "peers": [PEER32, PEER16],
                "ours": OURS,
                "error": errors,
                "bound": "fma",
                "bytes": 2 * 2 * KV_HEADS * (past + tokens) * head_size,
                "flops": 4 * Q_HEADS * tokens * mean_keys * head_size,
            } | timing.summary(times, OURS, layers)
