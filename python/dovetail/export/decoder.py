# SPDX-License-Identifier: Apache-2.0
"""The decoder as a graph: input and output names of docs/package.md, one AttentionPlugin per layer.

Legend: B lanes, S tokens, H hidden, C capacity, R rotary width, L logit rows per lane, V
vocabulary, Hq / Hk query / KV heads, D head size. The head is computed only for the rows in
last_token_ids.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .. import data_types
from ..checkpoint import Checkpoint
from ..checkpoint.linear import FloatLinear, Int4Linear, open_linear
from ..data_types import DataType
from ..errors import DovetailError
from ..models import Model
from .graph import Graph
from .norms import Norms
from .options import Plan
from .weights import (
    Bias,
    Int4Source,
    Linear,
    QuantizedHere,
    can_stack,
    int4_gemm,
    matmul,
    read_bias,
)


class Decoder:
    def __init__(self, checkpoint: Checkpoint, model: Model, plan: Plan):
        self.checkpoint, self.model, self.plan = checkpoint, model, plan
        self.graph = Graph(f"dovetail_{model.family.name}")
        self.int4_group_sizes: set[int] = set()
        self.default_kv_scales = False  # fp8 cache without scales in the checkpoint
        self._norms = Norms(self.graph, checkpoint, plan, model.norm_eps, model.hidden)
        self._names = model.family.tensors

    def build(self) -> Graph:
        g, plan, m = self.graph, self.plan, self.model
        cache = ["batch", 2, m.kv_heads, "capacity", m.head_size]
        residual = g.input("inputs_embeds", plan.dtype, ["batch", "tokens", m.hidden])
        for i in range(m.layers):
            g.input(f"past_key_values_{i}", plan.kv_dtype, cache)
        g.input("rope_rotary_cos_sin", data_types.FP32, ["rope_batch", "positions", m.rope.width])
        g.input("context_lengths", data_types.INT32, ["batch"])
        g.input("last_token_ids", data_types.INT64, ["batch", "logit_rows"])
        g.input("kvcache_start_index", data_types.INT32, ["start_lanes"])
        if plan.options.tree:
            g.input("attention_mask", data_types.INT32, ["batch", "tokens", "mask_words"])
            g.input("attention_pos_id", data_types.INT32, ["batch", "position_width"])
        g.output("logits", data_types.FP32, ["batch", "logit_rows", m.vocabulary])

        residual = g.cast(residual, plan.dtype, plan.plain, "inputs_embeds.plain")
        x = self._norms.first(residual, self._names.attention_norm.format(i=0), "layers.0.norm")
        for i in range(m.layers):
            x = self._attention(x, i)
            x, residual = self._norms.after_sum(
                x, residual, self._names.mlp_norm.format(i=i), f"layers.{i}.mlp.norm"
            )
            x = self._mlp(x, i)
            if i + 1 < m.layers:
                x, residual = self._norms.after_sum(
                    x,
                    residual,
                    self._names.attention_norm.format(i=i + 1),
                    f"layers.{i + 1}.norm",
                )
            g.output(f"present_key_values_{i}", plan.kv_dtype, cache)
        self._head(x, residual)
        return g

    def _attention(self, x: str, i: int) -> str:
        g, m, plan, t = self.graph, self.model, self.plan, self._names
        q, kv = m.q_heads * m.head_size, m.kv_heads * m.head_size
        shapes = ((t.q, q), (t.k, kv), (t.v, kv))
        modules = [(module.format(i=i), n) for module, n in shapes]
        prefix = f"layers.{i}.attention"
        inputs = {
            "qkv": self._stacked(x, modules, m.hidden, f"{prefix}.qkv", m.family.qkv_bias),
            "kv_cache": f"past_key_values_{i}",
            "context_lengths": "context_lengths",
            "rope_rotary_cos_sin": "rope_rotary_cos_sin",
            "kvcache_start_index": "kvcache_start_index",
        }
        if plan.options.tree:
            inputs["attention_mask"] = "attention_mask"
            inputs["attention_pos_id"] = "attention_pos_id"
        if plan.kv_dtype is data_types.FP8:
            inputs["kv_scales"] = self._kv_scales(i, f"{prefix}.kv_scales")
        if m.family.qk_norm:
            for tensor, module in (("q_norm_weight", t.q_norm), ("k_norm_weight", t.k_norm)):
                inputs[tensor] = self._norms.weight(
                    module.format(i=i), f"{prefix}.{tensor}", m.head_size, plan.dtype
                )
        attributes = {
            "num_q_heads": m.q_heads,
            "num_kv_heads": m.kv_heads,
            "head_size": m.head_size,
            "enable_tree_attention": int(plan.options.tree),
            "enable_fp8_kv_cache": int(plan.kv_dtype is data_types.FP8),
            "sliding_window_size": m.windows[i],
            "enable_qk_norm": int(m.family.qk_norm),
        }
        if m.family.qk_norm:
            attributes["rms_norm_eps"] = m.norm_eps
        outputs = [f"{prefix}.heads", f"present_key_values_{i}"]
        heads = g.plugin("AttentionPlugin", inputs, prefix, attributes, outputs)
        flat = g.node(
            "Reshape", [heads, g.constant(np.array([0, 0, q], np.int64))], f"{prefix}.flat"
        )
        o = open_linear(self.checkpoint, t.o.format(i=i), m.hidden, q)
        return self._linear(flat, o, f"{prefix}.o", source=plan.dtype)

    def _mlp(self, x: str, i: int) -> str:
        m, t = self.model, self._names
        prefix = f"layers.{i}.mlp"
        modules = [(t.gate.format(i=i), m.intermediate), (t.up.format(i=i), m.intermediate)]
        linears = self._open(modules, m.hidden)
        if self.plan.engine.fused_swiglu:
            product, source = self._fused_swiglu(x, linears, prefix)
        else:
            product, source = self._plain_swiglu(x, linears, prefix), self.plan.plain
        down = open_linear(self.checkpoint, t.down.format(i=i), m.hidden, m.intermediate)
        return self._linear(product, down, f"{prefix}.down", source=source)

    def _fused_swiglu(self, x: str, linears: list[Linear], prefix: str) -> tuple[str, DataType]:
        """silu(gate) * up in one node, and its type."""
        g, plan = self.graph, self.plan
        if plan.engine.gated_gemm and can_stack(linears):
            gated = self._int4(x, linears, f"{prefix}.gate_up", plan.plain, swiglu=True)
            return gated, plan.dtype
        if can_stack(linears):
            both, dtype = self._int4(x, linears, f"{prefix}.gate_up", plan.plain), plan.dtype
        else:
            parts = [
                self._linear(x, linear, f"{prefix}.{part}")
                for linear, part in zip(linears, ("gate", "up"), strict=True)
            ]
            both, dtype = g.node("Concat", parts, f"{prefix}.gate_up", axis=-1), plan.plain
        attributes = {"intermediate_size": self.model.intermediate}
        return g.plugin("PackedSwiGLU", {"gate_up": both}, f"{prefix}.product", attributes), dtype

    def _plain_swiglu(self, x: str, linears: list[Linear], prefix: str) -> str:
        g = self.graph
        if can_stack(linears):
            both = self._int4(x, linears, f"{prefix}.gate_up", self.plan.plain)
            both = g.cast(both, self.plan.dtype, self.plan.plain, f"{prefix}.gate_up.plain")
            gate, up = f"{prefix}.gate", f"{prefix}.up"
            g.node("Split", [both], f"{prefix}.split", [gate, up], axis=-1, num_outputs=2)
        else:
            gate = self._linear(x, linears[0], f"{prefix}.gate")
            up = self._linear(x, linears[1], f"{prefix}.up")
        sigmoid = g.node("Sigmoid", [gate], f"{prefix}.sigmoid")
        silu = g.node("Mul", [gate, sigmoid], f"{prefix}.silu")
        return g.node("Mul", [silu, up], f"{prefix}.product")

    def _head(self, x: str, residual: str) -> None:
        g, plan = self.graph, self.plan
        final = self._names.final_norm
        x, _ = self._norms.after_sum(x, residual, final, "head.norm", rows="last_token_ids")
        head = self._open_head()
        if isinstance(head, FloatLinear):
            logits = matmul(g, x, head, "head.matmul", plan.plain)
            logits_type = plan.plain
        else:
            logits = self._int4(x, [head], "head.gemm", plan.plain)
            logits_type = plan.dtype
        if logits_type is data_types.FP32:
            g.node("Identity", [logits], "logits")
        else:
            g.cast(logits, logits_type, data_types.FP32, "logits")

    def _open_head(self) -> Linear:
        m, wanted = self.model, self.plan.options.head
        module = self._names.embedding if m.tied_head else self._names.head
        head = open_linear(self.checkpoint, module, m.vocabulary, m.hidden)
        if isinstance(head, Int4Linear):
            if wanted == "float":
                raise DovetailError(
                    f"{self.checkpoint.path}: --head float, but {module} is int4 here; "
                    f"quantize with --keep {module.rsplit('.', 1)[-1]}"
                )
            return head
        if wanted != "int4":
            return head
        group_size = self.plan.options.head_group_size
        if m.hidden % group_size:
            raise DovetailError(
                f"--head-group-size {group_size} does not divide the hidden size {m.hidden}"
            )
        return QuantizedHere(head, group_size)

    def _open(self, modules: list[tuple[str, int]], k: int) -> list[Linear]:
        return [open_linear(self.checkpoint, module, n, k) for module, n in modules]

    def _stacked(
        self, x: str, modules: list[tuple[str, int]], k: int, name: str, with_bias: bool
    ) -> str:
        """All modules applied to x, side by side, as activation type."""
        linears = self._open(modules, k)
        biases = (
            [read_bias(self.checkpoint, module, n) for module, n in modules] if with_bias else []
        )
        if can_stack(linears):
            return self._int4(x, linears, name, self.plan.plain, biases)
        parts = []
        for j, (linear, part) in enumerate(zip(linears, "qkv", strict=True)):
            bias = biases[j] if biases else None
            parts.append(self._linear(x, linear, f"{name}.{part}", bias=bias))
        joined = self.graph.node("Concat", parts, f"{name}.joined", axis=-1)
        return self.graph.cast(joined, self.plan.plain, self.plan.dtype, name)

    def _linear(
        self,
        x: str,
        linear: Linear,
        name: str,
        source: DataType | None = None,
        bias: Bias | None = None,
    ) -> str:
        """One layer; x has type `source` (default: the plain type), the result the plain type."""
        g, plan = self.graph, self.plan
        source = source or plan.plain
        if isinstance(linear, FloatLinear):
            x = g.cast(x, source, plan.plain, f"{name}.input")
            return matmul(g, x, linear, name, plan.plain, bias)
        biases = [bias] if bias is not None else []
        return g.cast(
            self._int4(x, [linear], name, source, biases), plan.dtype, plan.plain, f"{name}.plain"
        )

    def _int4(
        self,
        x: str,
        linears: Sequence[Int4Source],
        name: str,
        source: DataType,
        biases: Sequence[Bias] = (),
        swiglu: bool = False,
    ) -> str:
        """One GEMM over stacked layers; x has type `source`, the result the activation type."""
        plan = self.plan
        self.int4_group_sizes.add(linears[0].group_size)
        x = self.graph.cast(x, source, plan.dtype, f"{name}.input")
        bias = (list(biases), plan.dtype) if biases else None
        return int4_gemm(
            self.graph, x, list(linears), name, plan.layout, plan.options.compute, bias, swiglu
        )

    def _kv_scales(self, i: int, name: str) -> str:
        module = self._names.kv_scales.format(i=i)
        tensors = [f"{module}.k_scale", f"{module}.v_scale"]
        self.graph.initializer(name, data_types.FP32, (2,))
        if not all(tensor in self.checkpoint for tensor in tensors):
            self.default_kv_scales = True
            self.graph.data.produce(lambda: [(name, np.ones(2, np.float32))])
            return name
        values = [self.checkpoint.read(tensor).astype(np.float32).reshape(-1) for tensor in tensors]
        for tensor, value in zip(tensors, values, strict=True):
            if value.size != 1 or not (np.isfinite(value[0]) and value[0] > 0):
                raise DovetailError(
                    f"{self.checkpoint.path}: tensor {tensor} is {value.tolist()}, expected one "
                    "positive scale"
                )
        self.graph.data.produce(lambda: [(name, np.concatenate(values))])
        return name
