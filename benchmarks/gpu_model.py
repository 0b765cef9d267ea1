# SPDX-License-Identifier: Apache-2.0
"""A whole decoder in ONNX Runtime's CUDA provider: our operators beside ONNX Runtime's own int4
path (gpu_decoder_graphs.py), with a CUDA graph and without.

Everything a step reads or writes lies on the GPU and is bound once; a figure is the host's time
around one Run, which waits for the GPU. The logits of both sides are compared before any timing.

Legend: B lanes, S tokens of a step, C capacity, D head size.
"""

from collections.abc import Callable, Iterator

import numpy as np
import onnx
import onnxruntime
from onnxruntime import OrtValue

import gpu_decoder_graphs as graphs
import timing
from gpu_decoder_graphs import Model
from graphs import LIBRARY

OURS, PEER = "dovetail", "onnxruntime int4"
CAPACITY = 2048 + 64
# Name, lanes, tokens, past, all rows to the head, a tree mask (ours; the peer goes without one,
# which costs it less).
CASES = (
    ("decode", 1, 1, 2048, False, False),
    ("decode", 8, 1, 2048, False, False),
    ("prefill", 1, 2048, 0, False, False),
    ("verify a tree", 1, 16, 2048, True, True),
    ("verify a tree", 1, 64, 2048, True, True),
)
# Two fp16 paths through random layers: about 4e-4.
LOGIT_ERROR = 2e-3


def rope_table(model: Model) -> np.ndarray:
    """[C, D] fp32: cosines, then sines."""
    frequencies = 500000.0 ** (-2 * np.arange(model.head_size // 2) / model.head_size)
    angles = np.arange(CAPACITY)[:, None] * frequencies
    return np.concatenate([np.cos(angles), np.sin(angles)], 1).astype(np.float32)


def open_session(
    graph: onnx.ModelProto, values: dict[str, np.ndarray]
) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.register_custom_ops_library(str(LIBRARY))
    names = list(values)
    tensors = [OrtValue.ortvalue_from_numpy(values[name]) for name in names]
    options.add_external_initializers(names, tensors)
    provider = {"enable_cuda_graph": "1", "arena_extend_strategy": "kSameAsRequested"}
    return onnxruntime.InferenceSession(
        graph.SerializeToString(), options, providers=[("CUDAExecutionProvider", provider)]
    )


def on_gpu(array: np.ndarray) -> OrtValue:
    return OrtValue.ortvalue_from_numpy(np.ascontiguousarray(array), "cuda", 0)


class Side:
    """A session with its caches on the GPU, and steps bound to them."""

    def __init__(self, session: onnxruntime.InferenceSession, model: Model, ours: bool, tree: bool):
        self.session, self.model, self.ours, self.tree = session, model, ours, tree
        self.caches: list[OrtValue] = []
        self.graph_ids = 0

    def fill(self, cache: np.ndarray) -> None:
        """`cache` [B, 2, Hk, C, D] into every layer."""
        parts = [cache] if self.ours else [cache[:, 0], cache[:, 1]]
        self.caches = [on_gpu(part) for _ in range(self.model.layers) for part in parts]

    def bind(
        self, x: np.ndarray, past: int, rows: np.ndarray, table: np.ndarray
    ) -> tuple[dict[str, Callable[[], None]], OrtValue]:
        """The step with a graph and without, and its logits."""
        lanes, tokens, _ = x.shape
        binding = self.session.io_binding()
        lengths = past + tokens
        inputs: dict[str, OrtValue] = {"inputs_embeds": on_gpu(x)}
        if self.ours:
            context = lengths if past and (tokens == 1 or self.tree) else tokens
            inputs |= {
                "rope_rotary_cos_sin": on_gpu(table[None]),
                "context_lengths": on_gpu(np.full(lanes, context, np.int32)),
                "last_token_ids": on_gpu(rows),
                "kvcache_start_index": on_gpu(np.full(lanes if past else 0, past, np.int32)),
            }
            if self.tree:
                inputs |= self._tree(lanes, tokens, past)
            names = [(f"past_key_values_{i}", f"present_key_values_{i}") for i in self._layers()]
        else:
            inputs |= {
                "seqlens_k": on_gpu(np.full(lanes, lengths - 1, np.int32)),
                "last": on_gpu(rows),
                # read by the host, which picks the kernels' splits by it
                "total": OrtValue.ortvalue_from_numpy(np.array([lengths], np.int32)),
            }
            names = [(f"past_{t}{i}", f"present_{t}{i}") for i in self._layers() for t in "kv"]
        for name, value in inputs.items():
            binding.bind_ortvalue_input(name, value)
        for (past_name, present_name), cache in zip(names, self.caches, strict=True):
            binding.bind_ortvalue_input(past_name, cache)
            binding.bind_ortvalue_output(present_name, cache)
        shape = [lanes, rows.shape[1], self.model.vocabulary]
        logits = OrtValue.ortvalue_from_shape_and_type(shape, np.float32, "cuda", 0)
        binding.bind_ortvalue_output("logits", logits)
        self.graph_ids += 1
        runs = {}
        for name, graph in (("graph", str(self.graph_ids)), ("plain", "-1")):
            options = onnxruntime.RunOptions()
            options.add_run_config_entry("gpu_graph_id", graph)
            keep = (inputs, self.caches, logits)
            runs[name] = lambda o=options, keep=keep: self.session.run_with_iobinding(binding, o)
        return runs, logits

    def _layers(self) -> range:
        return range(self.model.layers)

    def _tree(self, lanes: int, tokens: int, past: int) -> dict[str, OrtValue]:
        """A chain: what the peer computes. The kernels look at the mask all the same."""
        words = (tokens + 31) // 32
        bits = np.tril(np.ones((tokens, words * 32), np.uint8))
        mask = np.packbits(bits, axis=1, bitorder="little").view(np.int32)
        positions = past + np.arange(tokens, dtype=np.int32)
        return {
            "attention_mask": on_gpu(np.tile(mask, (lanes, 1, 1))),
            "attention_pos_id": on_gpu(np.tile(positions, (lanes, 1))),
        }


def cost(model: Model, lanes: int, tokens: int, past: int, rows: int) -> tuple[float, float]:
    """Bytes and flops of a step: weights and caches once, products of weights and of attention."""
    bytes_read = flops = 0.0
    for kind, (n, k, count) in model.matrices().items():
        bytes_read += count * n * k * (0.5 + 2 / graphs.GROUP)
        flops += 2.0 * count * n * k * lanes * (rows if kind == "head" else tokens)
    keys = past + (tokens + 1) / 2
    width = model.q_heads * model.head_size
    flops += 4.0 * model.layers * lanes * tokens * width * keys
    cache = 4.0 * model.layers * lanes * (past + tokens) * model.kv_heads * model.head_size
    return bytes_read + cache, flops


def measure(quick: bool, wanted: Callable[[str], bool]) -> Iterator[dict]:
    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        print("model rows skipped: this onnxruntime has no CUDA provider (onnxruntime-gpu has)")
        return
    for model in graphs.MODELS[:1] if quick else graphs.MODELS:
        cells = [(f"{model.name}, {case_name(case)}", case) for case in CASES]
        cells = [cell for cell in cells if wanted(cell[0])]
        if cells:
            yield from measure_model(model, cells, quick)


def case_name(case: tuple) -> str:
    name, lanes, tokens, past, _, tree = case
    what = f"{name} of {tokens}" if tree else f"{name} {tokens} tokens" if tokens > 1 else name
    return f"{what}, B {lanes}" + (f", context {past}" if past else "")


def measure_model(model: Model, cells: list[tuple[str, tuple]], quick: bool) -> Iterator[dict]:
    table = rope_table(model)
    ours = {tree: graphs.exported(model, CAPACITY, 8, tree) for tree in (False, True)}
    matrices = {
        kind: graphs.Matrix(n, k, seed)
        for seed, (kind, (n, k, _)) in enumerate(model.matrices().items())
    }
    peer = open_session(*graphs.onnxruntime_graph(model, CAPACITY, table, matrices))
    sides = {PEER: Side(peer, model, False, False)}
    for tree, graph in ours.items():
        if any(case[5] == tree for _, case in cells):
            values = graphs.our_weights(graph, matrices)
            sides[tree] = Side(open_session(graph, values), model, True, tree)
    del matrices
    random = np.random.default_rng(9)
    for name, (_, lanes, tokens, past, all_rows, tree) in cells:
        pair = {OURS: sides[tree], PEER: sides[PEER]}
        sizes = (lanes, tokens, past, all_rows)
        yield measure_case(name, model, pair, random, table, sizes, quick)


def distance(a: np.ndarray, b: np.ndarray) -> float:
    """Of the lane that is furthest off: |a - b| / |b|."""
    lanes = zip(a, b, strict=True)
    return float(max(np.linalg.norm(x - y) / np.linalg.norm(y) for x, y in lanes))


def compare(logits: dict[str, np.ndarray]) -> str:
    """Why these results may not be timed; empty when all sides agree."""
    first = logits[OURS]
    if not np.array_equal(first, logits[f"{OURS}, no graph"]):
        return f"{OURS}: the CUDA graph gives other logits than the same step without"
    apart = {name: distance(first, other) for name, other in logits.items() if name != OURS}
    if all(error < LOGIT_ERROR for error in apart.values()):
        return ""
    return f"logits apart from {OURS}: {apart}, expected below {LOGIT_ERROR}"


def measure_case(
    name: str,
    model: Model,
    sides: dict[str, Side],
    random: np.random.Generator,
    table: np.ndarray,
    sizes: tuple[int, int, int, bool],
    quick: bool,
) -> dict:
    lanes, tokens, past, all_rows = sizes
    x = random.standard_normal((lanes, tokens, model.hidden), np.float32).astype(np.float16)
    cache = random.standard_normal(
        (lanes, 2, model.kv_heads, CAPACITY, model.head_size), np.float32
    ).astype(np.float16)
    last = np.arange(tokens) if all_rows else np.array([tokens - 1])
    rows = np.tile(last.astype(np.int64), (lanes, 1))
    runs, logits = {}, {}
    for side_name, side in sides.items():
        side.fill(cache)
        both, value = side.bind(x, past, rows, table)
        runs[side_name], runs[f"{side_name}, no graph"] = both["graph"], both["plain"]
        both["plain"]()
        logits[f"{side_name}, no graph"] = value.numpy().astype(np.float64)
        for _ in range(3):  # ONNX Runtime runs once or twice before it records
            both["graph"]()
        logits[side_name] = value.numpy().astype(np.float64)
    if why := compare(logits):
        return {"shape": name, "wrong": why}
    bytes_read, flops = cost(model, lanes, tokens, past, len(last))
    times = timing.alternate(runs, 0.2 if quick else 0.8, 7)
    return {
        "shape": name,
        "ours": OURS,
        "peers": [PEER],
        "error": {"logits": distance(logits[OURS], logits[PEER])},
        "bytes": bytes_read,
        "flops": flops,
        "peak": "fp16",
    } | timing.summary(times, OURS)
