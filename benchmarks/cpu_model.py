# SPDX-License-Identifier: Apache-2.0
"""A decoder of Llama-3.2-1B's shape with random int4 weights, end to end in ONNX Runtime: one
graph with our operators, one with MatMulNBits, GroupQueryAttention and what ONNX Runtime makes of
Split, Sigmoid, Mul, Mul. The rest is the same in both: packed QKV, fused gate and up,
SkipSimplifiedLayerNormalization, only the wanted rows reach the head. A step of one token runs
beside a plain read of the weights too."""

from collections.abc import Callable, Iterator

import numpy as np

import timing
from cpu_attention import KV_HEADS, Q_HEADS, add_ours, add_peer, rope_table
from graphs import Graph, Session, memory_reader
from llama_cpp import LlamaCpp, add_row
from weights import Int4Matrix

OURS, PEER = "dovetail", "onnxruntime"
HIDDEN, LAYERS, HEAD_SIZE, FFN, VOCABULARY = 2048, 16, 64, 8192, 128256
CAPACITY = 4096 + 64
CASES = [
    ("decode, past 16", 1, 16),
    ("decode, past 4096", 1, 4096),
    ("prefill 512", 512, 0),
    ("16 tokens at once, past 256", 16, 256),
]
# Both round activations to int8 in front of 65 matrices; 16 layers of random weights forget
# nothing.
LOGIT_ERROR = 0.05


def matrices() -> dict[str, Int4Matrix]:
    shapes = {}
    for i in range(LAYERS):
        shapes |= {
            f"qkv{i}": ((Q_HEADS + 2 * KV_HEADS) * HEAD_SIZE, HIDDEN),
            f"o{i}": (HIDDEN, HIDDEN),
            f"gate_up{i}": (2 * FFN, HIDDEN),
            f"down{i}": (HIDDEN, FFN),
        }
    shapes["head"] = (VOCABULARY, HIDDEN)
    return {name: Int4Matrix(n, k, seed) for seed, (name, (n, k)) in enumerate(shapes.items())}


def build(weights: dict[str, Int4Matrix], threads: int, ours: bool) -> Session:
    graph = Graph()
    cache_type = np.float16 if ours else np.float32
    cache_shape = (
        ["B", 2, KV_HEADS, CAPACITY, HEAD_SIZE] if ours else ["B", KV_HEADS, CAPACITY, HEAD_SIZE]
    )
    parts = ("cache",) if ours else ("key", "value")

    def matrix(x: str, name: str) -> str:
        return (weights[name].add_ours if ours else weights[name].add_peer)(graph, x, name)

    x = graph.input("inputs_embeds", np.float32, ["B", "S", HIDDEN])
    if ours:
        graph.input("lengths", np.int32, ["B"])
        graph.input("rope", np.float32, [1, CAPACITY, HEAD_SIZE])
        graph.input("start", np.int32, ["N"])
    else:
        graph.input("seqlens_k", np.int32, ["B"])
        graph.input("total", np.int32, [])
        graph.input("cos", np.float32, [CAPACITY, HEAD_SIZE // 2])
        graph.input("sin", np.float32, [CAPACITY, HEAD_SIZE // 2])
    graph.input("rows", np.int64, ["L"])
    norm = graph.weight("norm", np.ones(HIDDEN, np.float32))
    merge_heads = graph.weight("merge_heads", np.array([0, 0, -1], np.int64))
    halves = graph.weight("halves", np.array([FFN, FFN], np.int64))
    epsilon = {"epsilon": 1e-5}

    def add_and_norm(residual: str, delta: str, name: str) -> tuple[str, str]:
        outputs = [f"{name}.normed", "", "", f"{name}.sum"]
        graph.node(
            "SkipSimplifiedLayerNormalization",
            [residual, delta, norm],
            outputs,
            "com.microsoft",
            **epsilon,
        )
        return outputs[0], outputs[3]

    y = graph.node(
        "SimplifiedLayerNormalization",
        [x, norm],
        ["first.normed"],
        axis=-1,
        stash_type=1,
        **epsilon,
    )
    for i in range(LAYERS):
        qkv = matrix(y, f"qkv{i}")
        past = [graph.input(f"past_{part}{i}", cache_type, cache_shape) for part in parts]
        attended = (
            add_ours(graph, f"a{i}", qkv, *past, HEAD_SIZE)
            if ours
            else add_peer(graph, f"a{i}", qkv, *past)
        )
        for part in parts:
            graph.output(f"a{i}.{part}", cache_type)
        if ours:
            attended = graph.node("Reshape", [attended, merge_heads], [f"a{i}.merged"])
        y, x = add_and_norm(x, matrix(attended, f"o{i}"), f"attention{i}")
        gate_up = matrix(y, f"gate_up{i}")
        if ours:
            y = graph.node(
                "PackedSwiGLU", [gate_up], [f"swiglu{i}"], "dovetail", intermediate_size=FFN
            )
        else:
            gate = graph.node("Split", [gate_up, halves], [f"gate{i}", f"up{i}"], axis=-1)
            sigmoid = graph.node("Sigmoid", [gate], [f"sigmoid{i}"])
            silu = graph.node("Mul", [gate, sigmoid], [f"silu{i}"])
            y = graph.node("Mul", [silu, f"up{i}"], [f"swiglu{i}"])
        y, x = add_and_norm(x, matrix(y, f"down{i}"), f"ffn{i}")
    wanted = graph.node("Gather", [y, "rows"], ["wanted"], axis=1)
    matrix(wanted, "head")
    graph.output("head", np.float32)
    return graph.session(threads)


def bind(
    session: Session,
    ours: bool,
    caches: list[np.ndarray],
    x: np.ndarray,
    past: int,
    table: np.ndarray,
) -> tuple[Callable[[], None], np.ndarray]:
    tokens = x.shape[1]
    rows = np.arange(tokens) if 1 < tokens <= 16 else np.array([tokens - 1])
    logits = np.zeros((1, len(rows), VOCABULARY), np.float32)
    inputs, outputs = {"inputs_embeds": x, "rows": rows}, {"head": logits}
    if ours:
        inputs |= {
            "rope": table[None],
            "start": np.full(1 if past else 0, past, np.int32),
            "lengths": np.array([past + 1 if tokens == 1 else tokens], np.int32),
        }
    else:
        half = HEAD_SIZE // 2
        inputs |= {
            "cos": np.ascontiguousarray(table[:, :half]),
            "sin": np.ascontiguousarray(table[:, half:]),
            "seqlens_k": np.array([past + tokens - 1], np.int32),
            "total": np.array(past + tokens, np.int32),
        }
    for i in range(LAYERS):
        for j, part in enumerate(("cache",) if ours else ("key", "value")):
            cache = caches[i] if ours else caches[2 * i + j]
            inputs[f"past_{part}{i}"] = outputs[f"a{i}.{part}"] = cache
    return session.bind(inputs, outputs), logits


def llama_cpp() -> LlamaCpp | None:
    try:
        return LlamaCpp(
            hidden=HIDDEN,
            layers=LAYERS,
            q_heads=Q_HEADS,
            kv_heads=KV_HEADS,
            head_size=HEAD_SIZE,
            ffn=FFN,
            vocabulary=VOCABULARY,
        )
    except RuntimeError as reason:
        print(f"llama.cpp rows skipped: {reason}", flush=True)
        return None


def measure(threads: int, quick: bool, with_llama_cpp: bool) -> Iterator[dict]:
    llama = llama_cpp() if with_llama_cpp else None
    weights = matrices()
    weight_bytes = sum(matrix.bytes_read() for matrix in weights.values())
    body_flops = 2 * sum(m.n * m.k for name, m in weights.items() if name != "head")
    sessions = {OURS: build(weights, threads, True), PEER: build(weights, threads, False)}
    reader, reader_bytes = memory_reader({n: m.lines() for n, m in weights.items()}, threads)
    read_weights = reader.bind(
        {"x": np.zeros(1, np.float32)}, {"checksum": np.zeros(1, np.int64)}
    )
    del weights
    random = np.random.default_rng(9)
    shape = (1, 2, KV_HEADS, CAPACITY, HEAD_SIZE)
    ours = [random.standard_normal(shape, np.float32).astype(np.float16) for _ in range(LAYERS)]
    peer = [
        np.ascontiguousarray(cache[:, part]).astype(np.float32)
        for cache in ours
        for part in range(2)
    ]
    table = rope_table(CAPACITY, HEAD_SIZE)
    for name, tokens, past in CASES[:3:2] if quick else CASES:
        x = random.standard_normal((1, tokens, HIDDEN), np.float32)
        runs, logits = {}, {}
        for side, caches in ((OURS, ours), (PEER, peer)):
            runs[side], logits[side] = bind(sessions[side], side == OURS, caches, x, past, table)
            runs[side]()
        error = float(np.linalg.norm(logits[OURS] - logits[PEER]) / np.linalg.norm(logits[PEER]))
        if not error < LOGIT_ERROR:
            raise SystemExit(f"{name}: logits differ by {error:.3g}, expected below {LOGIT_ERROR}")
        bytes_read = weight_bytes + LAYERS * 2 * 2 * KV_HEADS * (past + tokens) * HEAD_SIZE
        if tokens == 1:
            runs[timing.READ] = read_weights
        times = timing.alternate(runs, 3 if quick else 12)
        read = timing.read_beside(times, OURS, bytes_read, reader_bytes) if tokens == 1 else {}
        row = read | timing.summary(times, OURS)
        attention = 4 * Q_HEADS * tokens * (past + (tokens + 1) / 2) * HEAD_SIZE * LAYERS
        head = 2 * VOCABULARY * HIDDEN * logits[OURS].shape[1]
        result = {
            "shape": name,
            "peers": [PEER],
            "ours": OURS,
            "error": {"logits": error},
            "bound": "int8",
            "bytes": bytes_read,
            "flops": body_flops * tokens + attention + head,
            "tokens_per_second": {side: tokens * 1e6 / us for side, us in row["median_us"].items()},
        } | row
        if llama:
            try:
                add_row(result, llama, threads, tokens, past, repeat=2 if quick else 5)
            except RuntimeError as reason:
                print(f"llama.cpp left out of this row: {reason}", flush=True)
        yield result
