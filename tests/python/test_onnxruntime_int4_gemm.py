# SPDX-License-Identifier: Apache-2.0
"""Int4GroupwiseGemmPlugin inside ONNX Runtime, beside fp64 numpy and ONNX Runtime's own
MatMulNBits."""

import numpy as np
import pytest

from onnxruntime_int4 import Gemm
from onnxruntime_session import BF16, F16, F32, ONNX_TYPE, node_model, open_session, run

CASES = {
    "guide node, fp16, decode": Gemm(1, 128, 256, 128, dtype=F16, scale_type=F16),
    "guide node, fp16, prefill": Gemm(33, 128, 256, 128, dtype=F16, scale_type=F16),
    "edgellm_v1, N not a multiple of 16": Gemm(5, 100, 128, 64, mode="exact"),
    "edgellm_v1, K not a multiple of 64": Gemm(3, 64, 96, 32, mode="exact"),
    "edgellm_v1, zero points and bias": Gemm(
        4, 64, 256, 128, zero_points=True, bias=True, mode="exact"
    ),
    "edgellm_v1, int8": Gemm(4, 64, 256, 128, mode="int8"),
    "cpu_v1, fp32, M = 1": Gemm(1, 256, 512, 128, "cpu_v1", scale_type=F16, mode="exact"),
    "cpu_v1, fp32, M = 4, group 32": Gemm(4, 48, 256, 32, "cpu_v1", mode="exact"),
    "cpu_v1, fp32, M = 17, group 64": Gemm(17, 80, 192, 64, "cpu_v1", mode="exact"),
    "cpu_v1, N not a multiple of 16": Gemm(2, 40, 128, 128, "cpu_v1", mode="exact"),
    "cpu_v1, zero points": Gemm(3, 64, 256, 64, "cpu_v1", zero_points=True, mode="exact"),
    "cpu_v1, bias, fp16": Gemm(3, 64, 256, 128, "cpu_v1", F16, F16, bias=True, mode="exact"),
    "cpu_v1, bf16, zero points, bias": Gemm(
        2, 64, 256, 128, "cpu_v1", BF16, BF16, True, True, "exact"
    ),
    "cpu_v1, int8, M = 1": Gemm(1, 256, 512, 128, "cpu_v1", mode="int8"),
    "cpu_v1, int8, zero points, M = 65": Gemm(
        65, 64, 256, 32, "cpu_v1", zero_points=True, mode="int8"
    ),
    "cpu_v1, auto, fp16": Gemm(8, 64, 256, 128, "cpu_v1", F16, F16),
    "gate and up, edgellm_v1, fp16": Gemm(3, 136, 256, 128, dtype=F16, scale_type=F16, swiglu=True),
    "gate and up, cpu_v1, bias": Gemm(
        7, 90, 192, 64, "cpu_v1", zero_points=True, bias=True, mode="exact", swiglu=True
    ),
}


def compute(gemm: Gemm, threads: int = 2) -> np.ndarray:
    y = np.empty((1, gemm.rows, gemm.n // 2 if gemm.swiglu else gemm.n), gemm.dtype)
    run(open_session(gemm.model(), threads), {"x": gemm.x[None]}, {"y": y})
    return y[0].astype(np.float64)


def assert_within(got: np.ndarray, expected: np.ndarray, allowed: np.ndarray):
    assert np.isfinite(got).all()
    excess = np.abs(got - expected) / allowed
    worst = np.unravel_index(excess.argmax(), excess.shape)
    assert excess.max() <= 1, (
        f"{worst}: got {got[worst]}, expected {expected[worst]} +- {allowed[worst]}"
    )


@pytest.mark.parametrize("gemm", CASES.values(), ids=CASES.keys())
def test_result(gemm):
    assert_within(compute(gemm), gemm.expected(), gemm.allowed_error())


def test_exact_arithmetic_is_exact():
    """Small integers times powers of two: no rounding anywhere, so no tolerance either."""
    gemm = Gemm(3, 48, 256, 64, "cpu_v1", zero_points=True, mode="exact")
    random = np.random.default_rng(5)
    gemm.x = random.integers(-4, 5, gemm.x.shape).astype(np.float32)
    gemm.scales = np.exp2(random.integers(-3, 1, gemm.scales.shape)).astype(np.float32)
    np.testing.assert_array_equal(compute(gemm), gemm.expected())


def test_allowed_error_would_show_a_swapped_nibble():
    """The checker fails on one pair of weights exchanged in one row."""
    gemm = Gemm(4, 64, 256, 128, mode="exact")
    expected, allowed = gemm.expected(), gemm.allowed_error()
    k = int(np.flatnonzero(gemm.u[7, :-1] != gemm.u[7, 1:])[0])
    gemm.u[7, [k, k + 1]] = gemm.u[7, [k + 1, k]]
    with pytest.raises(AssertionError):
        assert_within(compute(gemm), expected, allowed)


def matmul_nbits(gemm: Gemm) -> np.ndarray:
    """The same product by ONNX Runtime's own operator, in fp32 arithmetic."""
    groups = gemm.k // gemm.group
    nibbles = gemm.u.reshape(gemm.n, groups, gemm.group // 2, 2)
    zeros = gemm.zeros.T.astype(np.uint8)
    zeros = np.pad(zeros, ((0, 0), (0, groups % 2)))
    constants = {
        "weights": nibbles[..., 0] | nibbles[..., 1] << 4,
        "scales": np.ascontiguousarray(gemm.scales.T),
        "zero_points": zeros[:, ::2] | zeros[:, 1::2] << 4,
    }
    attributes = {
        "K": gemm.k,
        "N": gemm.n,
        "bits": 4,
        "block_size": gemm.group,
        "accuracy_level": 1,
    }
    model = node_model(
        "MatMulNBits",
        {"x": (ONNX_TYPE[F32], ["M", gemm.k])} | dict.fromkeys(constants),
        {"y": ONNX_TYPE[F32]},
        attributes,
        constants,
        "com.microsoft",
    )
    return open_session(model).run(None, {"x": gemm.x})[0].astype(np.float64)


@pytest.mark.parametrize(
    "gemm",
    [
        Gemm(1, 128, 512, 128, "cpu_v1", mode="exact"),
        Gemm(9, 96, 384, 32, "cpu_v1", zero_points=True, mode="exact"),
        Gemm(2, 64, 192, 64, zero_points=True, mode="exact"),
    ],
    ids=["symmetric", "zero points", "edgellm_v1 zero points"],
)
def test_agrees_with_matmul_nbits(gemm):
    theirs = matmul_nbits(gemm)
    assert_within(theirs, gemm.expected(), gemm.allowed_error())
    assert_within(compute(gemm), theirs, 2 * gemm.allowed_error())


def test_node_without_a_domain():
    """Edge-LLM 0.5 writes this operator's nodes so."""
    gemm = Gemm(3, 64, 128, 128, dtype=F16, scale_type=F16)
    constants = gemm.constants()
    model = node_model(
        "Int4GroupwiseGemmPlugin",
        {"x": (ONNX_TYPE[F16], ["B", "S", 128])} | dict.fromkeys(constants),
        {"y": ONNX_TYPE[F16]},
        gemm.attributes(),
        constants,
        domain="",
    )
    assert_within(
        open_session(model).run(None, {"x": gemm.x[None]})[0][0].astype(np.float64),
        gemm.expected(),
        gemm.allowed_error(),
    )


def test_rank_2_and_empty_batch():
    gemm = Gemm(6, 32, 64, 32, mode="exact")
    session = open_session(gemm.model(rank=2))
    assert_within(session.run(None, {"x": gemm.x})[0], gemm.expected(), gemm.allowed_error())
    assert session.run(None, {"x": gemm.x[:0]})[0].shape == (0, 32)


def test_more_shapes_than_the_plan_cache_holds():
    gemm = Gemm(40, 32, 64, 32, mode="exact")
    session = open_session(gemm.model())
    expected, allowed = gemm.expected(), gemm.allowed_error()
    for rows in [*range(1, 24), 3, 2, 40, 1, 23]:
        got = session.run(None, {"x": gemm.x[None, :rows]})[0][0]
        assert_within(got, expected[:rows], allowed[:rows])


def test_weights_as_graph_inputs():
    """Nothing is constant: shapes are read and checked at every Run."""
    gemm = Gemm(2, 32, 64, 32, mode="exact")
    constants = gemm.constants()
    inputs = {"x": (ONNX_TYPE[F32], [1, "S", 64])}
    inputs |= {
        name: (ONNX_TYPE[array.dtype], [f"{name}_{i}" for i in range(array.ndim)])
        for name, array in constants.items()
    }
    session = open_session(
        node_model("Int4GroupwiseGemmPlugin", inputs, {"y": ONNX_TYPE[F32]}, gemm.attributes())
    )
    got = session.run(None, {"x": gemm.x[None]} | constants)[0][0]
    assert_within(got, gemm.expected(), gemm.allowed_error())
    with pytest.raises(Exception, match=r"int4_gemm: scales is \[1, 32\], expected .* = \[2, 32\]"):
        session.run(None, {"x": gemm.x[None]} | constants | {"scales": constants["scales"][:1]})


def test_session_knows_output_shapes():
    gemm = Gemm(1, 48, 64, 32)
    (output,) = open_session(gemm.model()).get_outputs()
    assert (output.type, output.shape) == ("tensor(float)", ["B", "S", 48])
    (output,) = open_session(gemm.model(rank=2)).get_outputs()
    assert output.shape == ["M", 48]
    (output,) = open_session(Gemm(1, 48, 64, 32, swiglu=True).model()).get_outputs()
    assert output.shape == ["B", "S", 24]
    half = Gemm(1, 48, 64, 32, dtype=F16)  # fp32 scales: the output follows the activations
    assert open_session(half.model()).get_outputs()[0].type == "tensor(float16)"
