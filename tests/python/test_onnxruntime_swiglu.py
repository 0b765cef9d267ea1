# SPDX-License-Identifier: Apache-2.0
"""PackedSwiGLU inside ONNX Runtime, beside fp64 numpy and the operators that it stands for."""

import numpy as np
import onnx
import pytest

from dovetail import _native
from onnxruntime_session import BF16, F16, F32, ONNX_TYPE, half_unit, node_model, open_session, run

WIDTH = 100


def model(dtype=F32, shape=("B", "S", 2 * WIDTH), width=WIDTH) -> bytes:
    return node_model(
        "PackedSwiGLU",
        {"x": (ONNX_TYPE[dtype], list(shape))},
        {"y": ONNX_TYPE[dtype]},
        {"intermediate_size": width},
        {},
        "dovetail",
    )


def values(*shape: int) -> np.ndarray:
    return (3 * np.random.default_rng(4).standard_normal(shape)).astype(np.float32)


def expected(x: np.ndarray) -> np.ndarray:
    gate, up = np.split(x.astype(np.float64), 2, axis=-1)
    return gate / (1 + np.exp(-gate)) * up


@pytest.mark.parametrize("dtype", [F32, F16, BF16])
@pytest.mark.parametrize("shape", [(1, 1), (2, 37), (1, 200)])
def test_result(dtype, shape):
    """Six fp32 roundings, and the exponent's, which exp multiplies by |gate| < 16; the output's."""
    x = values(*shape, 2 * WIDTH).astype(dtype)
    y = np.empty((*shape, WIDTH), dtype)
    run(open_session(model(dtype)), {"x": x}, {"y": y})
    want = expected(x)
    allowed = 24 * 2.0**-24 * np.abs(want) + half_unit(np.abs(want), dtype)
    assert (np.abs(y.astype(np.float64) - want) <= allowed).all()


def test_agrees_with_the_standard_operators():
    x = values(3, 5, 2 * WIDTH)
    node = onnx.helper.make_node
    nodes = [
        node("Split", ["x"], ["gate", "up"], axis=-1, num_outputs=2),
        node("Sigmoid", ["gate"], ["sigmoid"]),
        node("Mul", ["gate", "sigmoid"], ["silu"]),
        node("Mul", ["silu", "up"], ["y"]),
    ]
    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        nodes, "standard", [value("x", 1, list(x.shape))], [value("y", 1, [3, 5, WIDTH])]
    )
    standard = onnx.helper.make_model(
        graph, opset_imports=[onnx.helper.make_opsetid("", 19)], ir_version=9
    )
    theirs = open_session(standard.SerializeToString()).run(None, {"x": x})[0]
    ours = open_session(model()).run(None, {"x": x})[0]
    gate, up = np.split(np.abs(x.astype(np.float64)), 2, axis=-1)
    # Their sigmoid is exact to about 2^-23 of 1, not of itself.
    assert (np.abs(ours - theirs) <= 2.0**-21 * gate * up).all()


def test_rank_2_empty_batch_and_output_shape():
    session = open_session(model(shape=("M", 2 * WIDTH)))
    assert session.run(None, {"x": values(0, 2 * WIDTH)})[0].shape == (0, WIDTH)
    assert session.run(None, {"x": values(3, 2 * WIDTH)})[0].shape == (3, WIDTH)
    (output,) = open_session(model()).get_outputs()
    assert (output.type, output.shape) == ("tensor(float)", ["B", "S", WIDTH])


def test_a_wrong_node_is_refused_by_name():
    with pytest.raises(Exception, match=r"swiglu: gate_up is \[-1, -1, 100\], expected .* = 200"):
        open_session(model(shape=("B", "S", WIDTH)))
    with pytest.raises(Exception, match="swiglu: attribute intermediate_size is 0, expected at"):
        open_session(model(width=0))
    with pytest.raises(Exception, match="swiglu: gate_up is float64, expected fp32, fp16, bf16"):
        open_session(model(np.dtype(np.float64)))


def test_the_native_reference_is_the_definition():
    x = values(4, 2 * WIDTH)
    got = _native.swiglu_reference({"intermediate_size": WIDTH}, {"gate_up": x})
    np.testing.assert_allclose(got, expected(x), rtol=1e-14)
