# SPDX-License-Identifier: Apache-2.0
"""Where the time of one step goes, for a package of Llama-3.2-1B's shape as `dovetail export`
writes it. ONNX Runtime's own profile of the fastest of several steps gives the times by operator;
on a decode step of 132 nodes the profiler itself costs a tenth. So the share of a decode step that
is neither matrix nor KV work is measured without it too: the whole graph runs alternately with one
that has the matrix and attention nodes only, each fed from a graph input, and the share is the
median over neighbouring runs."""

import collections
import json
import pathlib
import statistics
import tempfile
from collections.abc import Callable, Iterator

import numpy as np
import onnx
import onnxruntime

import timing
from graphs import LIBRARY, Session
from random_package import (
    CAPACITY,
    HEAD_SIZE,
    HIDDEN,
    KV_HEADS,
    LAYERS,
    Q_HEADS,
    VOCABULARY,
    random_package,
)

CASES = [
    ("decode, past 16", 1, 16, 60),
    ("decode, past 960", 1, 960, 60),
    ("prefill 512", 512, 0, 5),
]
MATRIX_OR_KV = ("Int4GroupwiseGemmPlugin", "AttentionPlugin", "MatMul")


def _session(package: pathlib.Path, threads: int, profile: str | None, model: bytes | None = None):
    options = onnxruntime.SessionOptions()
    options.use_per_session_threads = False
    options.log_severity_level = 3
    options.add_session_config_entry("dovetail.threads", str(threads))
    options.add_session_config_entry(
        "session.model_external_initializers_file_folder_path", str(package)
    )
    options.register_custom_ops_library(str(LIBRARY))
    if profile:
        options.enable_profiling = True
        options.profile_file_prefix = profile
    return onnxruntime.InferenceSession(
        model or str(package / "model.onnx"), options, providers=["CPUExecutionProvider"]
    )


def _matrix_graph(package: pathlib.Path) -> tuple[bytes, dict[str, int], dict[str, int]]:
    """The graph of the matrix and attention nodes alone; widths of the inputs and outputs added."""
    model = onnx.load(package / "model.onnx", load_external_data=False)
    graph, inputs, outputs = model.graph, {}, {}
    kept = [node for node in graph.node if node.op_type in MATRIX_OR_KV]
    for node in kept:
        sizes = {a.name: a.i for a in node.attribute}
        if node.op_type == "AttentionPlugin":
            width = Q_HEADS * HEAD_SIZE
            source = width + 2 * KV_HEADS * HEAD_SIZE
        else:
            source, width = sizes["gemm_k"], sizes["gemm_n"]
        node.input[0] = f"source_{source}"
        inputs[node.input[0]] = source
        outputs[node.output[0]] = width
    del graph.node[:]
    graph.node.extend(kept)
    present = [o for o in graph.output if o.name != "logits"]
    del graph.output[:]
    graph.output.extend(present)
    value = onnx.helper.make_tensor_value_info
    graph.input.extend(value(name, 1, ["batch", "tokens", w]) for name, w in inputs.items())
    graph.output.extend(value(name, 1, None) for name in outputs)
    for unused in ("inputs_embeds", "last_token_ids"):
        graph.input.remove(next(i for i in graph.input if i.name == unused))
    return model.SerializeToString(), inputs, outputs


def _bind(session, tokens: int, past: int, only=None) -> Callable[[], None]:
    """`only`: the widths of _matrix_graph."""
    random = np.random.default_rng(5)
    shape = (1, 2, KV_HEADS, CAPACITY, HEAD_SIZE)
    angles = np.outer(np.arange(CAPACITY), 500000.0 ** (-np.arange(HEAD_SIZE // 2) * 2 / HEAD_SIZE))
    inputs = {
        "inputs_embeds": random.standard_normal((1, tokens, HIDDEN), np.float32),
        "rope_rotary_cos_sin": np.hstack([np.cos(angles), np.sin(angles)], dtype=np.float32)[None],
        "context_lengths": np.array([past + 1 if tokens == 1 else tokens], np.int32),
        "last_token_ids": np.array([[tokens - 1]], np.int64),
        "kvcache_start_index": np.full(1 if past else 0, past, np.int32),
    }
    outputs = {"logits": np.zeros((1, 1, VOCABULARY), np.float32)}
    for i in range(LAYERS):
        cache = random.standard_normal(shape, np.float32).astype(np.float16)
        inputs[f"past_key_values_{i}"] = outputs[f"present_key_values_{i}"] = cache
    if only:
        sources, widths = only
        for unused in ("inputs_embeds", "last_token_ids"):
            del inputs[unused]
        del outputs["logits"]
        for name, width in sources.items():
            inputs[name] = random.standard_normal((1, tokens, width), np.float32)
        shared = {width: np.empty((1, tokens, width), np.float32) for width in widths.values()}
        for name, width in widths.items():
            heads = name.endswith(".heads")
            shape = (1, tokens, Q_HEADS, HEAD_SIZE) if heads else (1, tokens, width)
            outputs[name] = shared[width].reshape(shape)
    return Session(session).bind(inputs, outputs)


def _fastest_step(events: list[dict], steps: int) -> tuple[float, dict[str, float]]:
    """us of the fastest of the last `steps` runs, whole and by operator."""
    runs = sorted((e for e in events if e["name"] == "model_run"), key=lambda e: e["ts"])[-steps:]
    run = min(runs, key=lambda e: e["dur"])
    nodes: dict[str, float] = collections.defaultdict(float)
    for event in events:
        inside = run["ts"] <= event["ts"] < run["ts"] + run["dur"]
        if inside and event["name"].endswith("_kernel_time"):
            nodes[event["args"]["op_name"]] += event["dur"]
    return run["dur"], dict(sorted(nodes.items(), key=lambda item: -item[1]))


def measure(threads: int, quick: bool) -> Iterator[dict]:
    package = random_package()
    matrices, *widths = _matrix_graph(package)
    for name, tokens, past, steps in CASES[::2] if quick else CASES:
        with tempfile.TemporaryDirectory() as folder:
            profiled = _session(package, threads, f"{folder}/profile")
            run = _bind(profiled, tokens, past)
            for _ in range(steps + 1):
                run()
            events = json.loads(pathlib.Path(profiled.end_profiling()).read_text())
        total, nodes = _fastest_step(events, steps)
        del run, profiled
        inside = sum(us for op, us in nodes.items() if op in MATRIX_OR_KV)
        row = {
            "shape": name,
            "total_us": total,
            "nodes_us": nodes,
            "profiled_share": 1 - inside / total,
        }
        if tokens == 1:  # a prefill takes too long for the profiler to show
            runs = {
                "whole": _bind(_session(package, threads, None), tokens, past),
                "matrix": _bind(_session(package, threads, None, matrices), tokens, past, widths),
            }
            times = timing.alternate(runs, 0, steps)
            pairs = zip(times["whole"], times["matrix"], strict=True)
            row["unprofiled_us"] = min(times["whole"]) * 1e6
            row["matrix_us"] = min(times["matrix"]) * 1e6
            row["other_share"] = statistics.median(1 - own / whole for whole, own in pairs)
        yield row
