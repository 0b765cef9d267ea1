# SPDX-License-Identifier: Apache-2.0
"""The native module: its stub, layouts and packers, the fp64 references against plain numpy."""

import ast
import subprocess
import sys

import numpy as np
import pytest

import checkpoint_files as files
from dovetail import DovetailError, _native

LAYOUTS = ["edgellm_v1", "cpu_v1"]
STUB = files.REPOSITORY / "python" / "dovetail" / "_native.pyi"


def functions(stub: str) -> dict[str, tuple]:
    """Name -> (arguments, docstring); array types are spelt differently by nanobind versions."""
    return {
        node.name: ([argument.arg for argument in node.args.args], ast.get_docstring(node))
        for node in ast.parse(stub).body
        if isinstance(node, ast.FunctionDef)
    }


def test_the_stub_is_what_the_module_offers(tmp_path):
    """The head of _native.pyi says how it is written."""
    command = [sys.executable, "-m", "nanobind.stubgen", "-m", "dovetail._native"]
    subprocess.run([*command, "-o", tmp_path / "new.pyi"], check=True, capture_output=True)
    offered = functions((tmp_path / "new.pyi").read_text())
    assert offered == functions(STUB.read_text())
    assert offered.keys() >= {"schemas", "pack_int4", "attention_reference"}


def plain(n: int, k: int, group: int):
    random = np.random.default_rng(files.SEED)
    codes = random.integers(0, 16, (n, k)).astype(np.uint8)
    scales = random.integers(1, 64, (n, k // group)).astype(np.float32) / 256
    return codes, scales, random.integers(0, 16, scales.shape).astype(np.uint8)


def shaped(packed, layout: str, n: int, k: int, group: int):
    weights, scales, points = packed
    scales_shape = _native.int4_scales_shape(layout, n, k, group)
    return (
        weights.view(np.int8).reshape(_native.int4_weights_shape(layout, n, k)),
        scales.view(np.float32).reshape(scales_shape),
        points.view(np.int8).reshape(scales_shape),
    )


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("n, k, group", [(16, 64, 32), (20, 128, 64), (5, 96, 32), (33, 256, 128)])
def test_packing_round_trips(layout, n, k, group):
    given = plain(n, k, group)
    packed = _native.pack_int4(*given, group, layout, "fp16")
    got = _native.unpack_int4(*packed, n, k, group, layout, "fp16")
    for one, other in zip(given, got, strict=True):
        np.testing.assert_array_equal(one, other)


def test_packer_refusals_reach_python():
    codes, scales, points = plain(16, 64, 32)
    with pytest.raises(DovetailError, match="weight_layout is amx_v7, expected edgellm_v1, cpu_v1"):
        _native.pack_int4(codes, scales, points, 32, "amx_v7", "fp16")
    with pytest.raises(DovetailError, match="is 16, expected 0 to 15"):
        _native.pack_int4(codes + 1, scales, points, 32, "cpu_v1", "fp16")
    with pytest.raises(DovetailError, match="group_size is 48"):
        _native.pack_int4(codes, scales, points, 48, "cpu_v1", "fp16")


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_int4_reference_is_the_definition(layout):
    n, k, group = 20, 128, 64
    codes, scales, points = plain(n, k, group)
    packed = _native.pack_int4(codes, scales, points, group, layout, "fp32")
    weights, packed_scales, packed_points = shaped(packed, layout, n, k, group)
    random = np.random.default_rng(files.SEED)
    x, bias = random.standard_normal((3, k), np.float32), random.standard_normal(n, np.float32)
    inputs = {
        "activations": x,
        "weights": weights,
        "scales": packed_scales,
        "zero_points": packed_points,
        "bias": bias,
    }
    attributes = {
        "gemm_n": n,
        "gemm_k": k,
        "group_size": group,
        "has_zero_points": 1,
        "has_bias": 1,
        "weight_layout": layout,
        "compute_mode": "exact",
    }
    got = _native.int4_gemm_reference(attributes, inputs)
    decoded = (codes - np.repeat(points.astype(np.float64), group, axis=1)) * np.repeat(
        scales.astype(np.float64), group, axis=1
    )
    np.testing.assert_allclose(got, x.astype(np.float64) @ decoded.T + bias, rtol=1e-12, atol=1e-12)
    with pytest.raises(DovetailError, match="gemm_k"):
        _native.int4_gemm_reference({"gemm_n": n, "group_size": group}, inputs)


def test_the_attention_reference_is_softmax_of_the_visible_keys():
    """Prefill of five tokens, two query heads on one KV head, no rotation (cos 1, sin 0)."""
    count, size, capacity = 5, 8, 6
    random = np.random.default_rng(files.SEED)
    qkv = random.standard_normal((1, count, 4 * size), np.float32)
    table = np.concatenate(
        [np.ones((1, capacity, size // 2)), np.zeros((1, capacity, size // 2))], 2
    )
    inputs = {
        "qkv": qkv,
        "kv_cache": np.zeros((1, 2, 1, capacity, size), np.float32),
        "context_lengths": np.array([count], np.int32),
        "rope_rotary_cos_sin": table.astype(np.float32),
        "kvcache_start_index": np.array([], np.int32),
    }
    attributes = {
        "num_q_heads": 2,
        "num_kv_heads": 1,
        "head_size": size,
        "enable_tree_attention": 0,
        "sliding_window_size": 3,
    }
    output, cache = _native.attention_reference(attributes, inputs)
    heads = qkv[0].astype(np.float64).reshape(count, 4, size)
    np.testing.assert_array_equal(cache[0, :, 0, :count], heads[:, 2:].transpose(1, 0, 2))
    for token in range(count):
        seen = slice(max(0, token - 2), token + 1)
        for head in range(2):
            scores = heads[seen, 2] @ heads[token, head] / np.sqrt(size)
            weights = np.exp(scores - scores.max())
            expected = weights / weights.sum() @ heads[seen, 3]
            np.testing.assert_allclose(output[0, token, head], expected, rtol=1e-5, atol=1e-6)
    with pytest.raises(DovetailError, match="not declared"):
        _native.attention_reference(attributes, inputs | {"qvk": qkv})
