# SPDX-License-Identifier: Apache-2.0
"""An exported graph evaluated by onnx's reference evaluator, our operators in fp64 numpy with the
storage types' rounding: what a narrow type or int8 activations must cost. Prefill of one lane into
an empty cache.

Legend: S tokens, D head size, R rotary width, N, K, G of the int4 GEMM.
"""

import json

import numpy as np
import onnx
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun

from package_decoder import TYPES, load_tensor

from dovetail import _native


def rms_norm(x: np.ndarray, weight: np.ndarray, eps: float) -> np.ndarray:
    x = x.astype(np.float64)
    return x / np.sqrt(np.square(x).mean(-1, keepdims=True) + eps) * weight.astype(np.float64)


class SimplifiedLayerNormalization(OpRun):
    op_domain = ""

    def _run(self, x, weight, axis=-1, epsilon=0.0, stash_type=1):
        return (rms_norm(x, weight, epsilon).astype(x.dtype),)


class SkipSimplifiedLayerNormalization(OpRun):
    op_domain = "com.microsoft"

    def _run(self, x, skip, weight, epsilon=0.0):
        total = x.astype(np.float64) + skip.astype(np.float64)
        return rms_norm(total, weight, epsilon).astype(x.dtype), x[:0], x[:0], total.astype(x.dtype)


class AttentionPlugin(OpRun):
    op_domain = "trt"

    def _run(
        self,
        qkv,
        cache,
        _lengths,
        table,
        _start,
        *,
        num_q_heads,
        num_kv_heads,
        head_size,
        enable_tree_attention=0,
        enable_fp8_kv_cache=0,
        **_,
    ):
        q_heads, kv_heads, width = num_q_heads, num_kv_heads, table.shape[-1]
        count = qkv.shape[1]
        heads = qkv.astype(np.float64).reshape(count, q_heads + 2 * kv_heads, head_size)
        cos = table[0, :count, None, : width // 2].astype(np.float64)
        sin = table[0, :count, None, width // 2 :].astype(np.float64)
        a, b = heads[..., : width // 2], heads[..., width // 2 : width]
        turned = np.concatenate([a * cos - b * sin, b * cos + a * sin], axis=-1)
        q = turned[:, :q_heads]
        k = self.stored(turned[:, q_heads : q_heads + kv_heads], cache)
        v = self.stored(heads[:, q_heads + kv_heads :], cache)
        k, v = (np.repeat(x, q_heads // kv_heads, axis=1) for x in (k, v))
        scores = np.einsum("qhd,khd->hqk", q, k) / np.sqrt(head_size)
        scores[:, np.triu(np.ones((count, count), bool), 1)] = -np.inf
        weights = np.exp(scores - scores.max(-1, keepdims=True))
        weights /= weights.sum(-1, keepdims=True)
        out = np.einsum("hqk,khd->qhd", weights, v)[None]
        return out.astype(qkv.dtype), cache

    @staticmethod
    def stored(values: np.ndarray, cache: np.ndarray) -> np.ndarray:
        return values.astype(np.float32).astype(cache.dtype).astype(np.float64)


class Int4GroupwiseGemmPlugin(OpRun):
    op_domain = "trt"

    def _run(
        self,
        x,
        weights,
        scales,
        *,
        gemm_n,
        gemm_k,
        group_size,
        weight_layout="edgellm_v1",
        compute_mode="exact",
        has_zero_points=0,
        has_bias=0,
        swiglu=0,
    ):
        bytes_of = [np.ascontiguousarray(t).reshape(-1).view(np.uint8) for t in (weights, scales)]
        layout = weight_layout or "edgellm_v1"
        codes, scale, _ = _native.unpack_int4(
            *bytes_of, None, gemm_n, gemm_k, group_size, layout, "fp16"
        )
        decoded = (codes - 8.0) * np.repeat(scale.astype(np.float64), group_size, axis=1)
        y = x.astype(np.float64)
        if compute_mode == "int8":
            groups = y.reshape(-1, group_size)
            step = np.maximum(np.abs(groups).max(1, keepdims=True) / 127, 1e-300)
            y = (np.round(groups / step) * step).reshape(y.shape)
        y = y @ decoded.T
        return ((gated(y) if swiglu else y).astype(x.dtype),)


def gated(gate_up: np.ndarray) -> np.ndarray:
    gate, up = np.split(gate_up, 2, axis=-1)
    return gate / (1 + np.exp(-gate)) * up


class PackedSwiGLU(OpRun):
    op_domain = "dovetail"

    def _run(self, gate_up, *, intermediate_size):
        assert gate_up.shape[-1] == 2 * intermediate_size
        return (gated(gate_up.astype(np.float64)).astype(gate_up.dtype),)


class ResidualRMSNorm(OpRun):
    op_domain = "dovetail"

    def _run(self, x, residual, weight, rows=None, epsilon=1e-5, has_rows=0):
        total = (x.astype(np.float64) + residual.astype(np.float64)).astype(x.dtype)
        if has_rows:
            total = np.take_along_axis(total, rows[..., None], axis=1)
        return rms_norm(total, weight, epsilon).astype(x.dtype), total


OPERATORS = [
    SimplifiedLayerNormalization,
    SkipSimplifiedLayerNormalization,
    AttentionPlugin,
    Int4GroupwiseGemmPlugin,
    PackedSwiGLU,
    ResidualRMSNorm,
]


def prefill(package, tokens: np.ndarray) -> np.ndarray:
    """Logits [S, V]."""
    manifest = json.loads((package / "manifest.json").read_text())
    model, count = manifest["model"], len(tokens)
    cache = (1, 2, model["num_kv_heads"], manifest["capacity"], model["head_size"])
    embedding = load_tensor(package / "embedding.safetensors", "embedding")
    feeds = {
        "inputs_embeds": embedding[tokens][None].astype(TYPES[manifest["dtype"]]),
        "rope_rotary_cos_sin": load_tensor(package / "rope.safetensors", "rope_rotary_cos_sin"),
        "context_lengths": np.array([count], np.int32),
        "last_token_ids": np.arange(count, dtype=np.int64)[None],
        "kvcache_start_index": np.array([], np.int32),
    }
    for i in range(model["layers"]):
        feeds[f"past_key_values_{i}"] = np.zeros(cache, TYPES[manifest["kv_dtype"]])
    graph = onnx.load(package / "model.onnx")
    if manifest["kv_dtype"] == "fp8":
        drop_kv_scales(graph)
    return ReferenceEvaluator(graph, new_ops=OPERATORS).run(["logits"], feeds)[0][0]


def drop_kv_scales(graph: onnx.ModelProto) -> None:
    """They are 1 in the packages that are compared."""
    for node in graph.graph.node:
        if node.op_type == "AttentionPlugin":
            del node.input[5:]
