# SPDX-License-Identifier: Apache-2.0
"""Runs an exported package in ONNX Runtime with our operators, the KV cache bound in place.

One lane, or several with different prompts; the meaning of the inputs is that of docs/package.md.
"""

import json
from pathlib import Path

import ml_dtypes
import numpy as np
import onnxruntime
from onnxruntime import OrtValue, SessionOptions
from safetensors import safe_open

import dovetail

TYPES = {
    "fp32": np.dtype(np.float32),
    "fp16": np.dtype(np.float16),
    "bf16": np.dtype(ml_dtypes.bfloat16),
    "fp8": np.dtype(ml_dtypes.float8_e4m3fn),
}
ONNX_TYPES = {"fp32": 1, "fp16": 10, "bf16": 16, "fp8": 17}


def load_tensor(path: Path, name: str) -> np.ndarray:
    with safe_open(path, "numpy") as file:
        return file.get_tensor(name)


class PackageDecoder:
    def __init__(self, package: Path, lanes: int = 1, threads: int = 2):
        manifest = json.loads((package / "manifest.json").read_text())
        options = SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        options.register_custom_ops_library(dovetail.onnxruntime_library())
        self.session = onnxruntime.InferenceSession(
            package / "model.onnx", options, providers=["CPUExecutionProvider"]
        )
        self.manifest, self.model, self.lanes = manifest, manifest["model"], lanes
        self.embedding = load_tensor(package / "embedding.safetensors", "embedding")
        self.rope = load_tensor(package / "rope.safetensors", "rope_rotary_cos_sin")
        model = self.model
        cache = (lanes, 2, model["num_kv_heads"], manifest["capacity"], model["head_size"])
        # NaN everywhere: a slot that is read before it is written shows in the logits
        self.caches = []
        for _ in range(model["layers"]):
            values = np.full(cache, np.nan).astype(TYPES[manifest["kv_dtype"]])
            bits = {1: np.uint8, 2: np.uint16, 4: np.uint32}[values.dtype.itemsize]
            self.caches.append(
                OrtValue.ortvalue_from_numpy_with_onnx_type(
                    values.view(bits), ONNX_TYPES[manifest["kv_dtype"]]
                )
            )

    def run(self, tokens, context_lengths, start_index, rows, mask=None, positions=None):
        """tokens [B, S] ids -> logits [B, L, V] of the token rows `rows` [B, L]."""
        embedded = self.embedding[np.asarray(tokens)].astype(TYPES[self.manifest["dtype"]])
        binding = self.session.io_binding()
        binding.bind_output("logits")

        def bind(name, values, kind):
            value = OrtValue.ortvalue_from_numpy_with_onnx_type(np.ascontiguousarray(values), kind)
            binding.bind_ortvalue_input(name, value)

        if embedded.dtype.itemsize == 2:
            bind("inputs_embeds", embedded.view(np.uint16), ONNX_TYPES[self.manifest["dtype"]])
        else:
            bind("inputs_embeds", embedded, 1)
        bind("rope_rotary_cos_sin", self.rope, 1)
        bind("context_lengths", np.asarray(context_lengths, np.int32), 6)
        bind("last_token_ids", np.asarray(rows, np.int64), 7)
        bind("kvcache_start_index", np.asarray(start_index, np.int32), 6)
        if self.manifest["tree"]:
            bind("attention_mask", np.asarray(mask, np.int32), 6)
            bind("attention_pos_id", np.asarray(positions, np.int32), 6)
        for i, cache in enumerate(self.caches):
            binding.bind_ortvalue_input(f"past_key_values_{i}", cache)
            binding.bind_ortvalue_output(f"present_key_values_{i}", cache)
        self.session.run_with_iobinding(binding)
        return binding.get_outputs()[0].numpy()

    def prefill(self, tokens, start: int = 0, **tree):
        """All logits [S, V] of a chunk of one lane."""
        count = len(tokens)
        rows = [list(range(count))]
        return self.run([tokens], [count], [start] if start else [], rows, **tree)[0]

    def decode(self, token: int, length: int, **tree):
        """Logits [V] after feeding a token to a lane that holds `length`."""
        return self.run([[token]], [length + 1], [length], [[0]], **tree)[0, 0]
