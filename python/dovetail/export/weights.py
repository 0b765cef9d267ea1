# SPDX-License-Identifier: Apache-2.0
"""Linear layers as graph nodes: int4 weights in a kernel's layout, or float weights for MatMul.

Layers that share their input (q, k, v; gate, up) become one int4 GEMM whose rows are stacked, when
they have the same group size and kind; otherwise one node each, and a Concat. The int4 layouts are
written by the C++ packers. MatMul wants [K, N]: a float weight is read whole and written
transposed in slices. Kept as [N, K] (Gemm with transB, FusedMatMul) one row costs 13% more in ONNX
Runtime 1.32: 14.1 and 14.0 ms against 12.4 ms for 2048 x 32768, one thread, AVX-512.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from .. import _native, data_types
from ..checkpoint import Checkpoint
from ..checkpoint.linear import FloatLinear, Int4Linear, check_finite, convert
from ..data_types import DataType
from ..quantize.int4 import quantize_rows, search_type
from .graph import Graph

BLOCK_BYTES = 32 << 20
TRANSPOSED_ROWS = (
    16  # at a time: 3.5 times faster than one numpy transpose, which misses every cache
)


@dataclass(frozen=True)
class QuantizedHere:
    """A float weight that becomes int4 during the export (the head, with --head int4)."""

    source: FloatLinear
    group_size: int
    has_zero_points: bool = False

    @property
    def n(self) -> int:
        return self.source.n

    @property
    def k(self) -> int:
        return self.source.k


Int4Source = Int4Linear | QuantizedHere
Linear = FloatLinear | Int4Linear | QuantizedHere
Bias = Callable[[DataType], np.ndarray]  # reads it as this type


def can_stack(linears: list[Linear]) -> bool:
    """Whether one GEMM can do them all: int4 with equal K, group size, and kind of zero point."""
    if any(isinstance(linear, FloatLinear) for linear in linears):
        return False
    kinds = {(x.k, x.group_size, x.has_zero_points) for x in linears}  # type: ignore[union-attr]
    return len(kinds) == 1


def read_bias(checkpoint: Checkpoint, module: str, n: int) -> Bias:
    name = checkpoint.expect(f"{module}.bias", (n,), data_types.FLOATS).name

    def read(dtype: DataType) -> np.ndarray:
        return convert(
            check_finite(checkpoint.read(name), checkpoint, name), dtype, checkpoint, name
        )

    return read


def int4_gemm(
    graph: Graph,
    activations: str,
    sources: list[Int4Source],
    name: str,
    layout: str,
    compute: str,
    bias: tuple[list[Bias], DataType] | None = None,
    swiglu: bool = False,
) -> str:
    """out[..., N] with N = all rows of `sources`, stacked; bias parts in their order. `swiglu`: the
    sources are a gate and up, the result is silu(gate) * up."""
    n = sum(source.n for source in sources)
    k, group_size = sources[0].k, sources[0].group_size
    scale_type = _stored_scale_type(sources)
    scales_shape = _native.int4_scales_shape(layout, n, k, group_size)
    inputs = {
        "activations": activations,
        "weights": graph.initializer(
            f"{name}.weights", data_types.INT8, _native.int4_weights_shape(layout, n, k)
        ),
        "scales": graph.initializer(f"{name}.scales", scale_type, scales_shape),
    }
    if sources[0].has_zero_points:
        inputs["zero_points"] = graph.initializer(
            f"{name}.zero_points", data_types.INT8, scales_shape
        )
    graph.data.produce(lambda: _packed(name, sources, layout, scale_type))
    if bias is not None:
        parts, dtype = bias
        inputs["bias"] = graph.initializer(f"{name}.bias", dtype, (n,))
        graph.data.produce(lambda: ((f"{name}.bias", part(dtype)) for part in parts))
    attributes = {
        "gemm_n": n,
        "gemm_k": k,
        "group_size": group_size,
        "has_zero_points": int("zero_points" in inputs),
        "has_bias": int("bias" in inputs),
        "weight_layout": layout,
        "compute_mode": compute,
        "swiglu": int(swiglu),
    }
    return graph.plugin("Int4GroupwiseGemmPlugin", inputs, name, attributes)


def matmul(
    graph: Graph,
    activations: str,
    linear: FloatLinear,
    name: str,
    dtype: DataType,
    bias: Bias | None = None,
) -> str:
    weight = graph.initializer(f"{name}.weight", dtype, (linear.k, linear.n))
    graph.data.produce(lambda: ((weight, part) for part in _transposed(linear, dtype)))
    if bias is None:
        return graph.node("MatMul", [activations, weight], name)
    product = graph.node("MatMul", [activations, weight], f"{name}.product")
    added = graph.initializer(f"{name}.bias", dtype, (linear.n,))
    graph.data.produce(lambda: [(added, bias(dtype))])
    return graph.node("Add", [product, added], name)


def row_blocks(rows: int, row_bytes: int) -> Iterator[tuple[int, int]]:
    step = max(1, BLOCK_BYTES // max(1, row_bytes))
    for start in range(0, rows, step):
        yield start, min(start + step, rows)


def _transposed(linear: FloatLinear, dtype: DataType) -> Iterator[np.ndarray]:
    whole = linear.rows(0, linear.n)
    for start, stop in row_blocks(linear.k, linear.n * 4):
        part = np.empty((stop - start, linear.n), whole.dtype)
        for row in range(0, linear.n, TRANSPOSED_ROWS):
            rows = slice(row, row + TRANSPOSED_ROWS)
            part[:, rows] = whole[rows, start:stop].T
        yield convert(part, dtype, linear.checkpoint, linear.tensor)


def _fill(
    source: Int4Source, codes: np.ndarray, scales: np.ndarray, zero_points: np.ndarray | None
) -> None:
    """Writes the plain weights of one source into its rows of the stacked arrays."""
    if isinstance(source, Int4Linear):
        for start, stop in row_blocks(source.n, source.k):
            codes[start:stop] = source.nibbles(start, stop)
        scales[:] = source.scales()
        if zero_points is not None:
            zero_points[:] = source.zero_points()
        return
    for start, stop in row_blocks(source.n, source.k * 4):
        rows = source.source.rows(start, stop)
        part = quantize_rows(rows, source.group_size, False, search_type(source.source.dtype))
        codes[start:stop], scales[start:stop] = part.codes, part.scales


def _packed(
    name: str, sources: list[Int4Source], layout: str, scale_type: DataType
) -> Iterator[tuple[str, np.ndarray]]:
    n = sum(source.n for source in sources)
    k, group_size = sources[0].k, sources[0].group_size
    codes = np.empty((n, k), np.uint8)
    scales = np.empty((n, k // group_size), np.float32)
    zero_points = np.empty_like(scales, np.uint8) if sources[0].has_zero_points else None
    row = 0
    for source in sources:
        rows = slice(row, row + source.n)
        _fill(source, codes[rows], scales[rows], None if zero_points is None else zero_points[rows])
        row += source.n
    packed = _native.pack_int4(codes, scales, zero_points, group_size, layout, scale_type.name)
    for initializer, values in zip(("weights", "scales", "zero_points"), packed, strict=True):
        if values is not None:
            yield f"{name}.{initializer}", values


def _stored_scale_type(sources: list[Int4Source]) -> DataType:
    """fp16 if it holds every scale exactly, else the type that holds them all."""
    kinds = set()
    for source in sources:
        if isinstance(source, QuantizedHere):
            kinds.add(search_type(source.source.dtype))
        elif source.scale_dtype is data_types.FP16:
            kinds.add(data_types.FP16)
        else:
            scales = source.scales().astype(np.float32)
            with np.errstate(over="ignore"):
                exact = np.array_equal(scales.astype(np.float16).astype(np.float32), scales)
            kinds.add(data_types.FP16 if exact else source.scale_dtype)
    return kinds.pop() if len(kinds) == 1 else data_types.FP32
