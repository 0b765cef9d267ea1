# SPDX-License-Identifier: Apache-2.0
"""ResidualRMSNorm inside ONNX Runtime, beside fp64 numpy and the operator that it stands for."""

import numpy as np
import onnx
import pytest

from dovetail import _native
from onnxruntime_session import BF16, F16, F32, ONNX_TYPE, half_unit, node_model, open_session, run

WIDTH = 96
EPSILON = 1e-5


def model(dtype=F32, shape=("B", "S", WIDTH), weight=(WIDTH,), residual=None) -> bytes:
    kind = ONNX_TYPE[dtype]
    inputs = {
        "x": (kind, list(shape)),
        "residual": (kind if residual is None else ONNX_TYPE[residual], list(shape)),
        "weight": (kind, list(weight)),
    }
    return node_model(
        "ResidualRMSNorm", inputs, {"normed": kind, "sum": kind}, {}, {}, "dovetail"
    )


def values(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def expected(x: np.ndarray, residual: np.ndarray, weight: np.ndarray) -> tuple:
    total = x.astype(np.float64) + residual.astype(np.float64)
    mean = np.square(total).mean(-1, keepdims=True)
    return total / np.sqrt(mean + EPSILON) * weight.astype(np.float64), total


@pytest.mark.parametrize("dtype", [F32, F16, BF16])
@pytest.mark.parametrize("shape", [(1, 1), (2, 37), (1, 200)])
def test_result(dtype, shape):
    """The sum is rounded once; the norm works from that, some roundings in fp32 and one more."""
    x, residual = (values(seed, *shape, WIDTH).astype(dtype) for seed in (1, 2))
    weight = values(3, WIDTH).astype(dtype)
    normed, total = np.empty_like(x), np.empty_like(x)
    given = {"x": x, "residual": residual, "weight": weight}
    run(open_session(model(dtype)), given, {"normed": normed, "sum": total})
    want_normed, want_total = expected(x, residual, weight)
    total_unit = half_unit(np.abs(want_total), dtype) + 2.0**-24 * np.abs(want_total)
    assert (np.abs(total.astype(np.float64) - want_total) <= total_unit).all()
    # The rounding of every element of the sum moves the mean too, by less than the largest share.
    share = (total_unit / np.maximum(np.abs(want_total), 1e-3)).max() + 16 * 2.0**-24
    factor = np.abs(weight.astype(np.float64)) / np.sqrt(
        np.square(want_total).mean(-1, keepdims=True)
    )
    allowed = total_unit * factor + share * np.abs(want_normed)
    allowed += half_unit(np.abs(want_normed) + allowed, dtype)
    assert (np.abs(normed.astype(np.float64) - want_normed) <= allowed).all()


def test_rows_of_each_lane():
    """What the head of a model wants: some tokens, by lane."""
    kind, index = ONNX_TYPE[F32], ONNX_TYPE[np.dtype(np.int64)]
    shapes = {"x": ["B", "S", WIDTH], "residual": ["B", "S", WIDTH], "weight": [WIDTH]}
    inputs = {name: (kind, shape) for name, shape in shapes.items()} | {"rows": (index, ["B", "L"])}
    outputs = {"normed": kind, "sum": kind}
    graph = node_model("ResidualRMSNorm", inputs, outputs, {"has_rows": 1}, {}, "dovetail")
    session = open_session(graph)
    assert [output.shape for output in session.get_outputs()] == [["B", "L", WIDTH]] * 2
    x, residual, weight = values(1, 3, 5, WIDTH), values(2, 3, 5, WIDTH), values(3, WIDTH)
    rows = np.array([[4, 0], [2, 2], [0, 3]])
    got = session.run(None, {"x": x, "residual": residual, "weight": weight, "rows": rows})
    lanes = np.arange(3)[:, None]
    for one, other in zip(got, expected(x, residual, weight), strict=True):
        np.testing.assert_allclose(one, other[lanes, rows], rtol=1e-5, atol=1e-6)


def test_agrees_with_the_operator_that_it_stands_for():
    x, residual, weight = values(4, 3, 5, WIDTH), values(5, 3, 5, WIDTH), values(6, WIDTH)
    node = onnx.helper.make_node(
        "SkipSimplifiedLayerNormalization",
        ["x", "residual", "weight"],
        ["normed", "", "", "sum"],
        domain="com.microsoft",
        epsilon=EPSILON,
    )
    value = onnx.helper.make_tensor_value_info
    given = {"x": x, "residual": residual, "weight": weight}
    graph = onnx.helper.make_graph(
        [node],
        "standard",
        [value(name, 1, list(array.shape)) for name, array in given.items()],
        [value(name, 1, list(x.shape)) for name in ("normed", "sum")],
    )
    opsets = [onnx.helper.make_opsetid("", 19), onnx.helper.make_opsetid("com.microsoft", 1)]
    standard = onnx.helper.make_model(graph, opset_imports=opsets, ir_version=9)
    theirs = open_session(standard.SerializeToString()).run(None, given)
    ours = open_session(model()).run(None, given)
    np.testing.assert_array_equal(ours[1], theirs[1])
    np.testing.assert_allclose(ours[0], theirs[0], rtol=2.0**-20, atol=2.0**-22)


def test_rank_2_empty_batch_and_output_shape():
    session = open_session(model(shape=("M", WIDTH)))
    weight = values(1, WIDTH)
    for rows in (0, 3):
        x = values(2, rows, WIDTH)
        outputs = session.run(None, {"x": x, "residual": x, "weight": weight})
        assert [output.shape for output in outputs] == [(rows, WIDTH)] * 2
    outputs = open_session(model()).get_outputs()
    assert [output.shape for output in outputs] == [["B", "S", WIDTH]] * 2


def test_a_wrong_node_is_refused_by_name():
    wrong = r"residual_norm: weight is \[32\], expected \[H\] = \[96\]"
    with pytest.raises(Exception, match=wrong):
        open_session(model(weight=(32,)))
    with pytest.raises(Exception, match="residual_norm: residual is fp16, expected fp32, the type"):
        open_session(model(residual=F16))


def test_the_native_reference_is_the_definition():
    x, residual, weight = values(7, 4, WIDTH), values(8, 4, WIDTH), values(9, WIDTH)
    got = _native.residual_norm_reference(
        {"epsilon": EPSILON}, {"x": x, "residual": residual, "weight": weight}
    )
    for one, other in zip(got, expected(x, residual, weight), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-7)  # epsilon travels as fp32
