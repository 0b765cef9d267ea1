# SPDX-License-Identifier: Apache-2.0
"""`dovetail inspect`: what a package or a checkpoint holds, and which engines can run it."""

from __future__ import annotations

import importlib.util
import json
from collections import Counter
from pathlib import Path
from typing import Any

import onnx
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from . import DovetailError, _native, onnxruntime_library
from .checkpoint import Checkpoint
from .checkpoint.quantization import format_of, is_quantized
from .checkpoint.config import Config, load_json
from .export.options import ENGINES
from .export.package import FORMAT, VERSION
from .models import load_model


def inspect(path: Path | str) -> dict[str, Any]:
    folder = Path(path)
    if (folder / "manifest.json").is_file():
        return _inspect_package(folder)
    if (folder / "config.json").is_file():
        return _inspect_checkpoint(folder)
    if not folder.is_dir():
        raise DovetailError(f"{folder}: no such folder")
    raise DovetailError(
        f"{folder}: neither a package (manifest.json) nor a checkpoint (config.json)"
    )


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a package, checked against the files beside it."""
    manifest = load_json(folder / "manifest.json")
    if manifest.get("format") != FORMAT:
        raise DovetailError(f"{folder}: manifest.json is not that of a {FORMAT}")
    version = manifest.get("version")
    if type(version) is not int or version > VERSION:
        raise DovetailError(
            f"{folder}: package version {version}, this dovetail reads up to {VERSION}; "
            "use a newer dovetail"
        )
    fields = Config(manifest, str(folder / "manifest.json"))
    fields.text("dtype")
    files = fields.section("files")
    if files is None:
        raise DovetailError(f"{fields.where}: files is missing")
    for name, size in files.values.items():
        file = folder / name
        if not file.is_file():
            raise DovetailError(f"{folder}: {name} is missing")
        if file.stat().st_size != size:
            raise DovetailError(
                f"{folder}: {name} has {file.stat().st_size} bytes, the manifest says {size}; "
                "is the package complete?"
            )
    return manifest


def _inspect_package(folder: Path) -> dict[str, Any]:
    manifest = read_manifest(folder)
    try:
        graph = onnx.load(folder / "model.onnx", load_external_data=False).graph
    except Exception:
        raise DovetailError(f"{folder}: model.onnx is not an ONNX model") from None
    layouts = Counter(
        attribute.s.decode()
        for node in graph.node
        if node.op_type == "Int4GroupwiseGemmPlugin"
        for attribute in node.attribute
        if attribute.name == "weight_layout"
    )
    gemms = sum(node.op_type == "Int4GroupwiseGemmPlugin" for node in graph.node)
    default = _native.schemas()["Int4GroupwiseGemmPlugin"]["attributes"]["weight_layout"]["default"]
    if gemms > layouts.total():
        layouts[default] = gemms - layouts.total()
    return {
        "kind": "package",
        "path": str(folder),
        "manifest": manifest,
        "nodes": dict(Counter(node.op_type for node in graph.node).most_common()),
        "int4_layouts": dict(layouts),
        "inputs": {value.name: _type(value) for value in graph.input},
        "outputs": {value.name: _type(value) for value in graph.output},
        "engines": _engines(graph, manifest["dtype"], set(layouts)),
        "cpu_tier": _native.cpu_tier(),
    }


def _engines(graph: onnx.GraphProto, dtype: str, layouts: set[str]) -> dict[str, str]:
    """Engine and device -> "yes", or why not here. A package is exported for one engine, by its
    operators; GPU packages also run on the CPU."""
    verdicts = {}
    domains = {node.domain for node in graph.node}
    for engine in ENGINES:
        name = f"{engine.name}, {engine.device}"
        if engine.name == "tensorrt" and "com.microsoft" in domains:
            verdicts[name] = (
                "no: the graph uses ONNX Runtime's own operators; export with --engine tensorrt"
            )
        elif dtype not in {t.name for t in engine.dtypes}:
            verdicts[name] = f"no: activations are {dtype}"
        elif engine.device == "cuda" and "cpu_v1" in layouts:
            verdicts[name] = (
                "no: the int4 weights are laid out for the CPU; export with --device cuda"
            )
        elif name == "onnxruntime, cpu":
            verdicts[name] = _onnxruntime_here()
        elif engine.name == "onnxruntime":
            verdicts[name] = "yes, with onnxruntime-gpu and a build of Dovetail with CUDA"
        else:
            verdicts[name] = "yes, with libdovetail_tensorrt.so"
    return verdicts


def _onnxruntime_here() -> str:
    if importlib.util.find_spec("onnxruntime") is None:
        return "yes, but the Python package onnxruntime is not installed here"
    try:
        onnxruntime_library()
    except DovetailError:
        return "yes, but libdovetail_onnxruntime.so is not built here"
    return "yes"


def _type(value: onnx.ValueInfoProto) -> str:
    tensor = value.type.tensor_type
    dims = [d.dim_param or str(d.dim_value) for d in tensor.shape.dim]
    return f"{onnx.TensorProto.DataType.Name(tensor.elem_type).lower()} [{', '.join(dims)}]"


def _inspect_checkpoint(folder: Path) -> dict[str, Any]:
    checkpoint = Checkpoint(folder)
    int4 = is_quantized(checkpoint.config)
    model = load_model(checkpoint)
    sizes: Counter[str] = Counter()
    marker = format_of(checkpoint.config).marker
    for name in checkpoint:
        entry = checkpoint.entry(name)
        kind = "int4" if name.endswith(f".{marker}") else entry.dtype.name
        sizes[kind] += entry.nbytes
    return {
        "kind": "checkpoint",
        "path": str(folder),
        "family": model.family.name,
        "quantized": int4,
        "layers": model.layers,
        "hidden_size": model.hidden,
        "vocab_size": model.vocabulary,
        "heads": f"{model.q_heads} query, {model.kv_heads} KV, size {model.head_size}",
        "rope": model.rope.type,
        "tied_head": model.tied_head,
        "files": checkpoint.file_names(),
        "tensors": sum(1 for _ in checkpoint),
        "bytes_by_type": dict(sizes.most_common()),
        "cpu_tier": _native.cpu_tier(),
    }


def show(facts: dict[str, Any], as_json: bool, console: Console) -> None:
    if as_json:
        print(json.dumps(facts, indent=2))
        return
    table = Table(title=f"{facts['kind']} {facts['path']}", title_justify="left", show_header=False)
    for key, value in _flatten(facts):
        table.add_row(key, escape(value))
    console.print(table)


def _flatten(facts: dict[str, Any]) -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    for key, value in facts.items():
        if key in ("kind", "path"):
            continue
        if key == "manifest":
            rows += _flatten(value)
        elif isinstance(value, dict):
            rows.append((key, "\n".join(f"{k}: {_readable(v)}" for k, v in value.items())))
        else:
            rows.append(
                (key, ", ".join(map(str, value)) if isinstance(value, list) else str(value))
            )
    return rows


def _readable(value: Any) -> str:
    if isinstance(value, int) and value >= 1 << 20:  # only sizes of files get that large
        return f"{value / 2**20:.1f} MiB"
    return str(value)
