# SPDX-License-Identifier: Apache-2.0
"""RMSNorm, alone and with the residual sum before it, in the operators that an engine has fast.

y = x / sqrt(mean(x^2) + eps) * weight (Zhang and Sennrich 2019, arXiv 1910.07467), in fp32 inside.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .. import data_types
from ..checkpoint import Checkpoint
from ..checkpoint.linear import check_finite, convert
from .graph import MICROSOFT, Graph
from .options import Plan


class Norms:
    def __init__(self, graph: Graph, checkpoint: Checkpoint, plan: Plan, eps: float, width: int):
        self._graph, self._checkpoint, self._plan = graph, checkpoint, plan
        self._eps, self._width = eps, width

    def weight(self, module: str, name: str, width: int, dtype: data_types.DataType) -> str:
        """Declares a norm's weight vector as an initializer."""
        tensor = f"{module}.weight"
        self._checkpoint.expect(tensor, (width,), data_types.FLOATS)
        self._graph.initializer(name, dtype, (width,))

        def produce() -> list[tuple[str, np.ndarray]]:
            values = check_finite(self._checkpoint.read(tensor), self._checkpoint, tensor)
            return [(name, convert(values, dtype, self._checkpoint, tensor))]

        self._graph.data.produce(produce)
        return name

    def first(self, x: str, module: str, name: str) -> str:
        weight = self.weight(module, f"{name}.weight", self._width, self._plan.plain)
        if self._plan.engine.fused_norms:
            return self._graph.node(
                "SimplifiedLayerNormalization",
                [x, weight],
                name,
                axis=-1,
                epsilon=self._eps,
                stash_type=1,
            )
        return self._decomposed(x, weight, name)

    def after_sum(
        self, x: str, residual: str, module: str, name: str, rows: str | None = None
    ) -> tuple[str, str]:
        """(norm(x + residual), x + residual); with `rows`, [B, L], of those tokens alone."""
        if rows is not None and not self._plan.engine.fused_residual_norms:
            last = self._graph.constant(np.array([-1], np.int64))
            wanted = self._graph.node("Unsqueeze", [rows, last], f"{name}.rows")
            x = self._graph.node("GatherND", [x, wanted], f"{name}.x", batch_dims=1)
            residual = self._graph.node("GatherND", [residual, wanted], f"{name}.r", batch_dims=1)
        total = f"{name}.residual"
        if self._plan.engine.fused_residual_norms:
            weight = self.weight(module, f"{name}.weight", self._width, self._plan.plain)
            inputs = {"x": x, "residual": residual, "weight": weight}
            attributes: dict[str, object] = {"epsilon": self._eps}
            if rows is not None:
                inputs["rows"] = rows
                attributes["has_rows"] = 1
            normed = self._graph.plugin(
                "ResidualRMSNorm", inputs, name, attributes, outputs=[name, total]
            )
            return normed, total
        if self._plan.engine.fused_norms:
            weight = self.weight(module, f"{name}.weight", self._width, self._plan.plain)
            normed = self._graph.node(
                "SkipSimplifiedLayerNormalization",
                [x, residual, weight],
                name,
                outputs=[name, "", "", total],
                domain=MICROSOFT,
                epsilon=self._eps,
            )
            return normed, total
        self._graph.node("Add", [x, residual], total)
        return self.first(total, module, name), total

    def _decomposed(self, x: str, weight: str, name: str) -> str:
        g, plain, fp32 = self._graph, self._plan.plain, data_types.FP32
        node: Callable[..., str] = g.node
        wide = g.cast(x, plain, fp32, f"{name}.fp32")
        square = node("Mul", [wide, wide], f"{name}.square")
        axes = g.constant(np.array([-1], np.int64))
        mean = node("ReduceMean", [square, axes], f"{name}.mean", keepdims=1)
        shifted = node("Add", [mean, g.constant(np.array(self._eps, np.float32))], f"{name}.eps")
        root = node("Sqrt", [shifted], f"{name}.root")
        scaled = node("Div", [wide, root], f"{name}.scaled")
        narrow = g.cast(scaled, fp32, plain, f"{name}.narrow")
        return node("Mul", [narrow, weight], name)
