# SPDX-License-Identifier: Apache-2.0
"""`dovetail export`: a checkpoint in, a model package (docs/package.md) out."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import __version__, data_types
from ..checkpoint import Checkpoint
from ..checkpoint.quantization import is_quantized
from ..checkpoint.config import Config
from ..checkpoint.linear import check_finite, convert
from ..checkpoint.writer import Declared, SafetensorsWriter
from ..errors import DovetailError
from ..models import Model, load_model
from ..output_folder import copy_files, output_folder
from ..progress import Silent
from .decoder import Decoder
from .options import DEFAULT_CAPACITY, ExportOptions, Plan, make_plan
from .weights import row_blocks

FORMAT = "dovetail-package"
VERSION = 1
COPIED = ("config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json")


@dataclass(frozen=True)
class ExportResult:
    manifest: dict[str, Any]
    notes: list[str]  # what the user should know


def export(
    source: Path | str, target: Path | str, options: ExportOptions, progress: Silent = Silent()
) -> ExportResult:
    plan = make_plan(options)
    checkpoint = Checkpoint(source)
    is_quantized(checkpoint.config)  # refuses formats that are not read
    model = load_model(checkpoint)
    capacity = options.capacity or min(model.context_length or DEFAULT_CAPACITY, DEFAULT_CAPACITY)
    notes = _check_capacity(model, capacity)
    with output_folder(target, checkpoint.path, options.replace) as folder:
        decoder = Decoder(checkpoint, model, plan)
        graph = decoder.build()
        graph.data.write(folder, progress)
        (folder / "model.onnx").write_bytes(graph.model().SerializeToString())
        _write_embedding(checkpoint, model, plan, folder)
        _write_rope(model, capacity, folder)
        copied = copy_files(checkpoint.path, folder, COPIED)
        if "tokenizer.json" not in copied:
            notes.append("no tokenizer.json: the package runs on token ids only")
        if decoder.default_kv_scales:
            notes.append("no k_scale and v_scale in the checkpoint: the fp8 cache has scale 1")
        manifest = _manifest(checkpoint, model, plan, capacity, decoder, folder)
        (folder / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n")
    return ExportResult(manifest, notes)


def _check_capacity(model: Model, capacity: int) -> list[str]:
    if model.context_length is not None and capacity > model.context_length:
        return [
            f"--capacity {capacity} is more than max_position_embeddings = {model.context_length}; "
            "the model was not trained beyond that"
        ]
    return []


def _write_embedding(checkpoint: Checkpoint, model: Model, plan: Plan, folder: Path) -> None:
    """fp32 engines widen a row as they read it, so 16-bit embeddings stay 16-bit on disk."""
    name = f"{model.family.tensors.embedding}.weight"
    shape = (model.vocabulary, model.hidden)
    entry = checkpoint.expect(name, shape, data_types.FLOATS)
    dtype = entry.dtype if plan.dtype is data_types.FP32 else plan.dtype
    writer = SafetensorsWriter(
        folder / "embedding.safetensors", [Declared("embedding", dtype, shape)]
    )
    for start, stop in row_blocks(shape[0], shape[1] * 4):
        rows = checkpoint.read_rows(name, start, stop)
        check_finite(rows, checkpoint, name)
        writer.write("embedding", convert(rows, dtype, checkpoint, name))
    writer.close()


def _write_rope(model: Model, capacity: int, folder: Path) -> None:
    name = "rope_rotary_cos_sin"
    table = Declared(name, data_types.FP32, (1, capacity, model.rope.width))
    writer = SafetensorsWriter(folder / "rope.safetensors", [table])
    for rows in model.rope.table(capacity):
        writer.write(name, rows)
    writer.close()


def _manifest(
    checkpoint: Checkpoint,
    model: Model,
    plan: Plan,
    capacity: int,
    decoder: Decoder,
    folder: Path,
) -> dict[str, Any]:
    options = plan.options
    bos, eos = _token_ids(checkpoint)
    groups = sorted(decoder.int4_group_sizes)
    weights: dict[str, Any] = {"format": "float", "dtype": plan.plain.name}
    if groups:
        weights = {
            "format": "int4",
            "group_size": groups[-1],
            "layout": plan.layout,
            "compute_mode": options.compute,
        }
    return {
        "format": FORMAT,
        "version": VERSION,
        "producer": f"dovetail {__version__}",
        "engine": plan.engine.name,
        "dtype": plan.dtype.name,
        "kv_dtype": plan.kv_dtype.name,
        "capacity": capacity,
        "max_batch": options.max_batch,
        "tree": options.tree,
        "model": {
            "family": model.family.name,
            "layers": model.layers,
            "hidden_size": model.hidden,
            "vocab_size": model.vocabulary,
            "num_q_heads": model.q_heads,
            "num_kv_heads": model.kv_heads,
            "head_size": model.head_size,
            "rotary_width": model.rope.width,
        },
        "weights": weights,
        "bos_token_id": bos,
        "eos_token_ids": eos,
        "files": {p.name: p.stat().st_size for p in sorted(folder.iterdir())},
    }


def _token_ids(checkpoint: Checkpoint) -> tuple[int | None, list[int]]:
    """generation_config.json decides; config.json fills in."""
    path = checkpoint.path / "generation_config.json"
    sources = ([Config.load(path)] if path.is_file() else []) + [checkpoint.config]
    bos: list[int] = []
    eos: list[int] = []
    for source in sources:
        bos = bos or source.token_ids("bos_token_id")
        eos = eos or source.token_ids("eos_token_id")
    if len(bos) > 1:
        raise DovetailError(f"{checkpoint.path}: bos_token_id is {bos}, expected one token id")
    return (bos[0] if bos else None), eos
