# SPDX-License-Identifier: Apache-2.0
"""Decoders of Llama shapes with random int4 weights, as ONNX graphs: ours, which `dovetail export`
declares, and one of ONNX Runtime's own operators (MatMulNBits, GroupQueryAttention,
SkipSimplifiedLayerNormalization, and Split, Sigmoid, Mul, Mul for SwiGLU).

Weights are handed over in memory. A kind of matrix (qkv, o, gate_up, down, head) has one random
matrix on the host; every layer loads its own copy of it, so a step reads as many bytes as a real
model's. Both graphs get the same numbers.

Legend: H hidden, Hq / Hk query / KV heads, D head size, G = 128 group size.
"""

import dataclasses
import json
import math
import pathlib
import tempfile

import numpy as np
import onnx
from onnx import TensorProto, helper

GROUP = 128
LAYOUT = "cuda_v1"
MICROSOFT = "com.microsoft"


@dataclasses.dataclass(frozen=True)
class Model:
    name: str
    hidden: int
    layers: int
    q_heads: int
    kv_heads: int
    head_size: int
    ffn: int
    vocabulary: int = 128256

    @property
    def qkv(self) -> int:
        return (self.q_heads + 2 * self.kv_heads) * self.head_size

    def matrices(self) -> dict[str, tuple[int, int, int]]:
        """N, K and how often, by kind."""
        width = self.q_heads * self.head_size
        return {
            "qkv": (self.qkv, self.hidden, self.layers),
            "o": (self.hidden, width, self.layers),
            "gate_up": (2 * self.ffn, self.hidden, self.layers),
            "down": (self.hidden, self.ffn, self.layers),
            "head": (self.vocabulary, self.hidden, 1),
        }


MODELS = (
    Model("Llama-3.2-1B", 2048, 16, 32, 8, 64, 8192),
    Model("Llama-3.1-8B", 4096, 32, 32, 8, 128, 14336),
)


class Matrix:
    """Codes and scales of one kind, in both forms; unit variance in gives about unit variance
    out."""

    def __init__(self, n: int, k: int, seed: int):
        from dovetail import _native

        random = np.random.default_rng(seed)
        codes = np.frombuffer(random.bytes(n * k), np.uint8).reshape(n, k) & 15
        spread = random.uniform(0.5, 1.5, (n, k // GROUP)) / (4.6 * math.sqrt(k))
        self.scales = spread.astype(np.float16)
        scales = self.scales.astype(np.float32)
        packed = _native.pack_int4(codes, scales, None, GROUP, LAYOUT, "fp16")
        self.packed, self.packed_scales = packed[0].view(np.int8), packed[1].view(np.float16)
        self.nibbles = (codes[:, ::2] | codes[:, 1::2] << 4).reshape(n, k // GROUP, GROUP // 2)


def checkpoint(model: Model, capacity: int, folder: pathlib.Path) -> None:
    """A checkpoint whose tensors are declared and not written: the file is a hole."""
    from dovetail.checkpoint.compressed_tensors import config_section

    width, kv = model.q_heads * model.head_size, model.kv_heads * model.head_size
    h, ffn = model.hidden, model.ffn
    floats = {"model.embed_tokens.weight": (model.vocabulary, h), "model.norm.weight": (h,)}
    linears = {"lm_head": (model.vocabulary, h)}
    for i in range(model.layers):
        layer = f"model.layers.{i}."
        floats |= {f"{layer}{n}_layernorm.weight": (h,) for n in ("input", "post_attention")}
        shapes = {"q": (width, h), "k": (kv, h), "v": (kv, h), "o": (h, width)}
        linears |= {f"{layer}self_attn.{name}_proj": shape for name, shape in shapes.items()}
        shapes = {"gate": (ffn, h), "up": (ffn, h), "down": (h, ffn)}
        linears |= {f"{layer}mlp.{name}_proj": shape for name, shape in shapes.items()}
    tensors = {name: ("F16", shape, 2) for name, shape in floats.items()}
    for name, (n, k) in linears.items():
        tensors[f"{name}.weight_packed"] = ("I32", (n, k // 8), 4)
        tensors[f"{name}.weight_scale"] = ("F16", (n, k // GROUP), 2)
    header, end = {}, 0
    for name, (dtype, shape, size) in tensors.items():
        begin, end = end, end + math.prod(shape) * size
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(folder / "model.safetensors", "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + end)
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": h,
        "intermediate_size": ffn,
        "vocab_size": model.vocabulary,
        "num_hidden_layers": model.layers,
        "num_attention_heads": model.q_heads,
        "num_key_value_heads": model.kv_heads,
        "head_dim": model.head_size,
        "rms_norm_eps": 1e-5,
        "rope_theta": 500000.0,
        "hidden_act": "silu",
        "tie_word_embeddings": False,
        "max_position_embeddings": capacity,
        "bos_token_id": 0,
        "eos_token_id": [1],
        "quantization_config": config_section(GROUP, False, []),
    }
    (folder / "config.json").write_text(json.dumps(config))


def exported(model: Model, capacity: int, batch: int, tree: bool) -> onnx.ModelProto:
    """What `dovetail export --engine onnxruntime --device cuda --dtype fp16 --layout cuda_v1`
    writes, without the weights."""
    from dovetail.checkpoint import Checkpoint
    from dovetail.export import ExportOptions
    from dovetail.export.decoder import Decoder
    from dovetail.export.options import make_plan
    from dovetail.models import load_model

    options = ExportOptions(
        engine="onnxruntime",
        device="cuda",
        dtype="fp16",
        capacity=capacity,
        max_batch=batch,
        tree=tree,
        layout=LAYOUT,
    )
    with tempfile.TemporaryDirectory() as scratch:
        checkpoint(model, capacity, pathlib.Path(scratch))
        source = Checkpoint(scratch)
        return Decoder(source, load_model(source), make_plan(options)).build().model()


def our_weights(graph: onnx.ModelProto, matrices: dict[str, Matrix]) -> dict[str, np.ndarray]:
    """Every external initializer's values, by name."""
    values = {}
    for tensor in graph.graph.initializer:
        if tensor.data_location != TensorProto.EXTERNAL:
            continue
        if tensor.data_type == TensorProto.FLOAT16 and len(tensor.dims) == 1:
            values[tensor.name] = np.ones(tensor.dims, np.float16)
            continue
        kind = next(k for k in ("qkv", "gate_up", "down", "head", "o") if f"{k}." in tensor.name)
        matrix = matrices[kind]
        data = matrix.packed if tensor.data_type == TensorProto.INT8 else matrix.packed_scales
        values[tensor.name] = data.reshape(tensor.dims)
    return values


def onnxruntime_graph(
    model: Model, capacity: int, table: np.ndarray, matrices: dict[str, Matrix]
) -> tuple[onnx.ModelProto, dict[str, np.ndarray]]:
    """The peer, its values by name. `table`: [C, D] cosines, then sines."""
    m, half = model, model.head_size // 2
    nodes: list[onnx.NodeProto] = []
    values: dict[str, np.ndarray] = {
        "cos": np.ascontiguousarray(table[:, :half], np.float16),
        "sin": np.ascontiguousarray(table[:, half:], np.float16),
        "ones": np.ones(m.hidden, np.float16),
    }
    half_type, cache = TensorProto.FLOAT16, ["B", m.kv_heads, capacity, m.head_size]
    inputs = [
        helper.make_tensor_value_info("inputs_embeds", half_type, ["B", "S", m.hidden]),
        helper.make_tensor_value_info("seqlens_k", TensorProto.INT32, ["B"]),
        helper.make_tensor_value_info("total", TensorProto.INT32, [1]),
        helper.make_tensor_value_info("last", TensorProto.INT64, ["B", "L"]),
    ]
    outputs = [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["B", "L", "V"])]

    def node(op: str, arguments: list[str], results: list[str], domain: str = "", **more) -> str:
        name = results[0]
        nodes.append(helper.make_node(op, arguments, results, name=name, domain=domain, **more))
        return name

    def matmul(x: str, kind: str, name: str) -> str:
        n, k, _ = m.matrices()[kind]
        values[f"{name}.weight"] = matrices[kind].nibbles
        values[f"{name}.scales"] = matrices[kind].scales
        weights = [f"{name}.weight", f"{name}.scales"]
        shape = {"N": n, "K": k, "bits": 4, "block_size": GROUP}
        return node("MatMulNBits", [x, *weights], [name], MICROSOFT, **shape)

    def norm(x: str, residual: str, name: str) -> tuple[str, str]:
        results = [name, "", "", f"{name}.sum"]
        op = "SkipSimplifiedLayerNormalization"
        node(op, [x, residual, "ones"], results, MICROSOFT, epsilon=1e-5)
        return results[0], results[3]

    residual = "inputs_embeds"
    first = {"axis": -1, "epsilon": 1e-5, "stash_type": 1}
    x = node("SimplifiedLayerNormalization", [residual, "ones"], ["norm"], **first)
    for i in range(m.layers):
        packed = matmul(x, "qkv", f"qkv{i}")
        past, present = ([f"{when}_{t}{i}" for t in "kv"] for when in ("past", "present"))
        inputs += [helper.make_tensor_value_info(name, half_type, cache) for name in past]
        outputs += [helper.make_tensor_value_info(name, half_type, cache) for name in present]
        arguments = [packed, "", "", *past, "seqlens_k", "total", "cos", "sin"]
        heads = {"num_heads": m.q_heads, "kv_num_heads": m.kv_heads, "do_rotary": 1}
        x = node(
            "GroupQueryAttention", arguments, [f"attention{i}", *present], MICROSOFT, **heads
        )
        x, residual = norm(matmul(x, "o", f"o{i}"), residual, f"mlp_norm{i}")
        both = matmul(x, "gate_up", f"gate_up{i}")
        node("Split", [both], [f"gate{i}", f"up{i}"], axis=-1, num_outputs=2)
        sigmoid = node("Sigmoid", [f"gate{i}"], [f"sigmoid{i}"])
        silu = node("Mul", [f"gate{i}", sigmoid], [f"silu{i}"])
        x = matmul(node("Mul", [silu, f"up{i}"], [f"product{i}"]), "down", f"down{i}")
        if i + 1 < m.layers:
            x, residual = norm(x, residual, f"norm{i + 1}")
    values["minus_one"] = np.array([-1], np.int64)
    rows = node("Unsqueeze", ["last", "minus_one"], ["rows"])
    x = node("GatherND", [x, rows], ["head.x"], batch_dims=1)
    residual = node("GatherND", [residual, rows], ["head.residual"], batch_dims=1)
    x, _ = norm(x, residual, "head.norm")
    node("Cast", [matmul(x, "head", "head")], ["logits"], to=TensorProto.FLOAT)
    initializers = [_declare(name, array) for name, array in values.items()]
    graph = helper.make_graph(nodes, "peer", inputs, outputs, initializers)
    opsets = [helper.make_opsetid("", 19), helper.make_opsetid(MICROSOFT, 1)]
    large = {name: array for name, array in values.items() if array.nbytes >= SMALL}
    return helper.make_model(graph, opset_imports=opsets, ir_version=9), large


SMALL = 1024  # bytes; below, ONNX Runtime wants to see the values while it optimizes


def _declare(name: str, array: np.ndarray) -> TensorProto:
    kind = helper.np_dtype_to_tensor_dtype(array.dtype)
    if array.nbytes < SMALL:
        return helper.make_tensor(name, kind, array.shape, array.tobytes(), raw=True)
    tensor = TensorProto(
        name=name, data_type=kind, dims=array.shape, data_location=TensorProto.EXTERNAL
    )
    for key, value in {"location": "in_memory", "offset": "0", "length": array.nbytes}.items():
        tensor.external_data.add(key=key, value=str(value))
    return tensor
