# SPDX-License-Identifier: Apache-2.0
"""Where the time of one step goes, for a package of Llama-3.2-1B's shape as `dovetail export` writes
it: ONNX Runtime's own profile of the fastest of several steps, by operator. What is left of the step
is ONNX Runtime's work around the nodes, and the profiler's (a decode step has 132 nodes); the same
step without a profiler runs alternately and is reported beside it."""

import collections
import json
import pathlib
import tempfile
import time
from collections.abc import Callable, Iterator

import numpy as np
import onnxruntime

from graphs import LIBRARY, Session
from random_package import CAPACITY, HEAD_SIZE, HIDDEN, KV_HEADS, LAYERS, VOCABULARY, random_package

CASES = [("decode, past 16", 1, 16, 40), ("decode, past 960", 1, 960, 40), ("prefill 512", 512, 0, 5)]
MATRIX_OR_KV = ("Int4GroupwiseGemmPlugin", "AttentionPlugin", "MatMul")


def _session(package: pathlib.Path, threads: int, profile: str | None):
    options = onnxruntime.SessionOptions()
    options.use_per_session_threads = False
    options.log_severity_level = 3
    options.add_session_config_entry("dovetail.threads", str(threads))
    options.register_custom_ops_library(str(LIBRARY))
    if profile:
        options.enable_profiling = True
        options.profile_file_prefix = profile
    return onnxruntime.InferenceSession(
        str(package / "model.onnx"), options, providers=["CPUExecutionProvider"]
    )


def _bind(session, tokens: int, past: int) -> Callable[[], None]:
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
    return Session(session, {}).bind(inputs, outputs)


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
    for name, tokens, past, steps in CASES[::2] if quick else CASES:
        with tempfile.TemporaryDirectory() as folder:
            profiled = _session(package, threads, f"{folder}/profile")
            runs = [_bind(_session(package, threads, None), tokens, past)]
            runs.append(_bind(profiled, tokens, past))
            whole = []
            for step in range(steps + 1):  # the first one warms up
                start = time.perf_counter()
                runs[0]()
                whole.append((time.perf_counter() - start) * 1e6)
                runs[1]()
            events = json.loads(pathlib.Path(profiled.end_profiling()).read_text())
        total, nodes = _fastest_step(events, steps)
        inside = sum(us for op, us in nodes.items() if op in MATRIX_OR_KV)
        yield {
            "shape": name,
            "total_us": total,
            "unprofiled_us": min(whole[1:]),
            "nodes_us": nodes,
            "other_share": 1 - inside / total,
        }
