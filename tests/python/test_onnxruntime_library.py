# SPDX-License-Identifier: Apache-2.0
"""The custom-op library as a whole: its symbols, what it refuses and with which words, concurrent
Runs."""

import concurrent.futures
import subprocess

import numpy as np
import onnxruntime
import pytest

from onnxruntime_attention import CHUNKED, DECODE, PREFILL, TREE, Attention
from onnxruntime_int4 import Gemm
from onnxruntime_session import (
    BF16,
    F16,
    F32,
    FP8,
    LIBRARY,
    ONNX_TYPE,
    node_model,
    open_session,
    run,
)


def symbols(*arguments: str) -> list[str]:
    done = subprocess.run(
        ["nm", "-D", *arguments, LIBRARY], capture_output=True, text=True, check=True
    )
    return [line.split()[-1] for line in done.stdout.splitlines()]


def test_exports_one_symbol_and_needs_none_of_onnxruntime():
    assert symbols("--defined-only") == ["RegisterCustomOps"]
    assert [
        name for name in symbols("--undefined-only") if "ort" in name.lower().split("abort")[0]
    ] == []
    dynamic = subprocess.run(
        ["readelf", "-d", LIBRARY], capture_output=True, text=True, check=True
    ).stdout
    assert "onnxruntime.so" not in dynamic.replace("libdovetail_onnxruntime.so", "")


def refusal(model: bytes) -> str:
    """What the session says when it refuses the model."""
    with pytest.raises(Exception) as raised:
        open_session(model)
    return str(raised.value)


def gemm_model(**changes) -> bytes:
    """A small valid node with attributes replaced, or removed by None, or tensors replaced."""
    gemm = Gemm(1, 32, 64, 32)
    attributes, constants = gemm.attributes(), gemm.constants()
    kind = (ONNX_TYPE[F32], ["B", "S", 64])
    for name, value in changes.items():
        if name == "x":
            kind = value
        elif name in ("weights", "scales", "zero_points", "bias"):
            constants[name] = value
        else:
            attributes[name] = value
    attributes = {name: value for name, value in attributes.items() if value is not None}
    return node_model(
        "Int4GroupwiseGemmPlugin",
        {"x": kind} | dict.fromkeys(constants),
        {"y": kind[0]},
        attributes,
        constants,
    )


INT8, UINT8 = np.int8, np.uint8

BAD_GEMMS = {
    "missing attribute": (
        dict(group_size=None),
        "attribute group_size is missing, expected an integer",
    ),
    "float for an integer": (dict(gemm_n=32.0), "attribute gemm_n is a float, expected an integer"),
    "string for an integer": (
        dict(gemm_n="32"),
        "attribute gemm_n is a string, expected an integer",
    ),
    "integer for a string": (
        dict(weight_layout=1),
        "attribute weight_layout is an integer, expected a string",
    ),
    "list": (dict(gemm_k=[64, 64]), "attribute gemm_k is a list or a tensor, expected an integer"),
    "unknown choice": (
        dict(compute_mode="fast"),
        'attribute compute_mode is "fast", expected one of auto, exact, int8',
    ),
    "unsupported group": (dict(group_size=16), "group_size is 16, expected 32, 64 or 128"),
    "K and group": (
        dict(group_size=128),
        "gemm_k is 64, expected a positive multiple of group_size = 128",
    ),
    "flag": (dict(has_bias=2), "attribute has_bias is 2, expected 0 or 1"),
    "GPU layout": (dict(weight_layout="cuda_v1", weights=np.zeros((32, 64), INT8)), "cuda_v1"),
    "missing input": (
        dict(has_zero_points=1),
        "3 inputs, expected 4 with has_zero_points = 1, has_bias = 0",
    ),
    "too many inputs": (
        dict(bias=np.zeros(32, np.float32)),
        "4 inputs, expected 3 with has_zero_points = 0, has_bias = 0",
    ),
    "activation type": (
        dict(x=(ONNX_TYPE[np.dtype(np.float64)], ["B", "S", 64])),
        "activations is float64, expected fp32, fp16, bf16",
    ),
    "activation shape": (
        dict(x=(ONNX_TYPE[F32], ["B", "S", 65])),
        "activations is [-1, -1, 65], expected",
    ),
    "activation rank": (
        dict(x=(ONNX_TYPE[F32], ["B", "S", 1, 64])),
        "activations is [-1, -1, 1, 64], expected",
    ),
    "weight type": (dict(weights=np.zeros((16, 64), UINT8)), "weights is uint8, expected int8"),
    "weight shape": (dict(weights=np.zeros((16, 32), INT8)), "weights is [16, 32], expected"),
    "scale shape": (dict(scales=np.ones((32, 2), np.float32)), "scales is [32, 2], expected"),
    "bias type": (
        dict(has_bias=1, bias=np.zeros(32, np.float16)),
        "bias is fp16, expected the type of activations, fp32",
    ),
}


@pytest.mark.parametrize("changes, message", BAD_GEMMS.values(), ids=BAD_GEMMS.keys())
def test_bad_gemm_is_refused_when_the_session_is_created(changes, message):
    said = refusal(gemm_model(**changes))
    assert 'node "node": int4_gemm: ' in said
    assert message in said


def attention_model(outputs=("y", "present"), drop=(), **changes) -> bytes:
    attention = Attention(DECODE, [3], [1], 1)
    attributes = attention.all_attributes() | {
        k: v for k, v in changes.items() if not isinstance(v, tuple)
    }
    inputs = attention.input_types() | {k: v for k, v in changes.items() if isinstance(v, tuple)}
    inputs = {name: kind for name, kind in inputs.items() if name not in drop}
    kinds = {"y": ONNX_TYPE[F32], "present": inputs["past"][0], "": 0}
    return node_model(
        "AttentionPlugin", inputs, {name: kinds[name] for name in outputs}, attributes
    )


CACHE = ["B", 2, 2, "C", 64]
BAD_ATTENTIONS = {
    "head ratio": (
        dict(num_kv_heads=3),
        "num_q_heads is 4, expected a positive multiple of num_kv_heads = 3",
    ),
    "head size": (dict(head_size=63), "head_size is 63, expected a multiple of 8 up to 256"),
    "float for an integer": (
        dict(enable_tree_attention=0.0),
        "attribute enable_tree_attention is a float, expected an integer",
    ),
    "integer for a float": (
        dict(attention_scale=1),
        "attribute attention_scale is an integer, expected a float",
    ),
    "window": (dict(sliding_window_size=0), "attribute sliding_window_size is 0, expected"),
    "tree inputs missing": (
        dict(enable_tree_attention=1),
        "5 inputs, expected 7 with enable_tree_attention = 1",
    ),
    "norm inputs missing": (dict(enable_qk_norm=1), "5 inputs, expected 7 with"),
    "input missing": (dict(drop=("start",)), "4 inputs, expected 5 with"),
    "fp8 cache not enabled": (
        dict(past=(ONNX_TYPE[FP8], CACHE)),
        "kv_cache is fp8_e4m3, expected fp32, fp16, bf16 with enable_fp8_kv_cache = 0",
    ),
    "cache rank": (
        dict(past=(ONNX_TYPE[F32], ["B", 2, "C", 64])),
        "kv_cache is [-1, 2, -1, 64], expected [B, 2, Hk, C, D] (rank 5)",
    ),
    "cache heads": (
        dict(past=(ONNX_TYPE[F32], ["B", 2, 4, "C", 64])),
        "kv_cache is [-1, 2, 4, -1, 64], expected",
    ),
    "qkv width": (dict(qkv=(ONNX_TYPE[F32], ["B", "S", 256])), "qkv is [-1, -1, 256], expected"),
    "lengths type": (
        dict(lengths=(ONNX_TYPE[np.dtype(np.int64)], ["B"])),
        "context_lengths is int64, expected int32",
    ),
    "no cache output": (
        dict(outputs=("y", "")),
        "output present_kv_cache is missing, expected 2 outputs",
    ),
}


@pytest.mark.parametrize("changes, message", BAD_ATTENTIONS.values(), ids=BAD_ATTENTIONS.keys())
def test_bad_attention_is_refused_when_the_session_is_created(changes, message):
    said = refusal(attention_model(**changes))
    assert 'node "node": attention: ' in said
    assert message in said


RUN_TIME_ERRORS = {
    "capacity": (
        Attention(DECODE, [3, 3], [1, 1], 1),
        dict(lengths=np.array([4, 40], np.int32)),
        "lane 1 holds 39 tokens and brings 1 (decode, context length 40), "
        "expected to fit the capacity C = 32",
    ),
    "batches differ": (
        Attention(DECODE, [3, 3], [1, 1], 1),
        dict(lengths=np.array([4], np.int32)),
        "context_lengths is [1], expected [B] = [2]",
    ),
    "start index": (
        Attention(CHUNKED, [3, 3], [2, 2], 2),
        dict(start=np.array([3, 3, 3], np.int32)),
        "kvcache_start_index is [3], expected",
    ),
    "RoPE table too short": (
        Attention(DECODE, [3], [1], 1),
        dict(rope=np.ones((1, 31, 64), np.float32)),
        "rope_rotary_cos_sin has 31 rows, expected at least the capacity C = 32",
    ),
    "position beyond the table": (
        Attention(TREE, [3], [2], 2),
        dict(ids=np.array([[3, 99]], np.int32)),
        "attention_pos_id[0, 1] is 99, expected",
    ),
}


@pytest.mark.parametrize(
    "attention, changes, message", RUN_TIME_ERRORS.values(), ids=RUN_TIME_ERRORS.keys()
)
def test_bad_call_is_an_error_and_the_session_lives_on(attention, changes, message):
    session = open_session(attention.model())
    cache = attention.cache.copy()
    y = attention.empty_output()
    with pytest.raises(Exception) as raised:
        run(session, attention.feeds() | {"past": cache} | changes, {"y": y, "present": cache})
    assert "attention: " + message in str(raised.value)
    np.testing.assert_array_equal(cache, attention.cache)
    run(session, attention.feeds() | {"past": cache}, {"y": y, "present": cache})
    attention.check_output(y, cache)


def test_tier_that_the_machine_does_not_have(monkeypatch):
    monkeypatch.setenv("DOVETAIL_CPU", "z80")
    assert 'DOVETAIL_CPU is "z80", expected one of the tiers of this machine: generic' in refusal(
        gemm_model()
    )
    monkeypatch.setenv("DOVETAIL_CPU", "generic")
    open_session(gemm_model())


def test_threads_entry_must_be_a_number():
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("dovetail.threads", "two")
    with pytest.raises(
        Exception, match='session entry dovetail.threads is "two", expected a positive integer'
    ):
        options.register_custom_ops_library(str(LIBRARY))


def test_options_may_register_again_and_serve_several_sessions():
    gemm = Gemm(1, 32, 64, 32, mode="exact")
    for _ in range(3):
        sessions = [open_session(gemm.model()) for _ in range(2)]
        results = [session.run(None, {"x": gemm.x[None]})[0] for session in sessions]
        np.testing.assert_array_equal(*results)


def test_concurrent_runs_on_one_session():
    """Six threads, their own caches and shapes, one session: to the bit what each gives alone."""
    calls = [
        Attention(PREFILL, [0, 0], [6, 4], 6, seed=1),
        Attention(DECODE, [9], [1], 1, seed=2),
        Attention(CHUNKED, [4], [5], 5, seed=3),
        Attention(DECODE, [9, 12, 1], [1, 1, 1], 1, seed=4),
        Attention(PREFILL, [0], [30], 30, seed=5),
        Attention(CHUNKED, [2, 1], [9, 9], 9, seed=6),
    ]
    session = open_session(calls[0].model())

    def repeat(attention: Attention, times: int) -> list[tuple[np.ndarray, np.ndarray]]:
        results = []
        for _ in range(times):
            cache, y = attention.cache.copy(), attention.empty_output()
            run(session, attention.feeds() | {"past": cache}, {"y": y, "present": cache})
            results.append((y, cache))
        return results

    alone = [repeat(attention, 1)[0] for attention in calls]
    with concurrent.futures.ThreadPoolExecutor(len(calls)) as pool:
        together = list(pool.map(lambda attention: repeat(attention, 40), calls))
    for expected, results in zip(alone, together):
        for got in results:
            np.testing.assert_array_equal(got[0], expected[0])
            np.testing.assert_array_equal(got[1], expected[1])


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_thread_counts(threads):
    gemm = Gemm(3, 64, 256, 64, "cpu_v1", dtype=BF16, scale_type=F16, mode="exact")
    y = np.empty((1, 3, 64), BF16)
    run(open_session(gemm.model(), threads), {"x": gemm.x[None]}, {"y": y})
    assert (np.abs(y[0].astype(np.float64) - gemm.expected()) <= gemm.allowed_error()).all()
