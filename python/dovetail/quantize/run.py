# SPDX-License-Identifier: Apache-2.0
"""`dovetail quantize`: a checkpoint in, an int4 checkpoint (compressed-tensors) out.

Weights are read, quantized and written in blocks of rows, so that memory does not grow with the
model.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from .. import data_types
from ..checkpoint import Checkpoint
from ..checkpoint.compressed_tensors import config_section
from ..checkpoint.int4 import GROUP_SIZES
from ..checkpoint.linear import FloatLinear, open_linear
from ..checkpoint.nibbles import pack_columns, pack_rows
from ..checkpoint.quantization import is_quantized
from ..checkpoint.writer import SHARD_BYTES, CheckpointWriter, Declared
from ..errors import DovetailError
from ..models import Model, load_model
from ..output_folder import COMPANIONS, copy_files, output_folder
from ..progress import Silent
from .int4 import quantize_rows, search_type

BLOCK_BYTES = 32 << 20  # of fp32 rows


@dataclass(frozen=True)
class QuantizeOptions:
    group_size: int = 128
    asymmetric: bool = False
    keep: tuple[str, ...] = ()
    replace: bool = False
    shard_bytes: int = SHARD_BYTES


@dataclass(frozen=True)
class ModuleError:
    module: str
    relative_error: float  # |W - Q| / |W|, Frobenius norms


@dataclass(frozen=True)
class Report:
    group_size: int
    asymmetric: bool
    kept: list[str]  # linear modules that stay as they are
    relative_error: float  # over all quantized weights
    bytes_in: int = 0
    bytes_out: int = 0
    modules: list[ModuleError] = field(default_factory=list)


def quantize(
    source: Path | str,
    target: Path | str,
    options: QuantizeOptions = QuantizeOptions(),
    progress: Silent = Silent(),
) -> Report:
    if options.group_size not in GROUP_SIZES:
        raise DovetailError(f"group size is {options.group_size}, expected 32, 64 or 128")
    checkpoint = Checkpoint(source)
    if is_quantized(checkpoint.config):
        raise DovetailError(f"{source}: is quantized already (config.json: quantization_config)")
    model = load_model(checkpoint)
    kept = _kept_modules(model, options.keep)
    linears = _open_linears(checkpoint, model, kept, options.group_size)
    with output_folder(target, checkpoint.path, options.replace) as folder:
        errors = _write_tensors(checkpoint, folder, linears, options, progress)
        _write_config(checkpoint, folder, kept, model, options)
        report = Report(
            group_size=options.group_size,
            asymmetric=options.asymmetric,
            kept=kept,
            relative_error=_ratio(sum(e for _, e, _ in errors), sum(n for _, _, n in errors)),
            bytes_in=checkpoint.bytes_in_files(),
            bytes_out=sum(p.stat().st_size for p in folder.glob("*.safetensors")),
            modules=[ModuleError(module, _ratio(e, n)) for module, e, n in errors],
        )
        text = json.dumps(asdict(report), indent=2) + "\n"
        (folder / "quantization_report.json").write_text(text)
    return report


def _kept_modules(model: Model, keep: tuple[str, ...]) -> list[str]:
    """Modules that a --keep word names: a whole path, or parts of one ("lm_head", "layers.0")."""
    names = [module for module, _, _ in model.quantizable()]
    tensors = model.family.tensors
    kept: set[str] = set()
    for word in keep:
        found = {name for name in names if f".{word}." in f".{name}."}
        if not found and word not in (tensors.head, tensors.embedding, "embed_tokens"):
            raise DovetailError(f"--keep {word} names no linear module; one is {names[0]}")
        kept |= found
    return [name for name in names if name in kept]


def _open_linears(
    checkpoint: Checkpoint, model: Model, kept: list[str], group_size: int
) -> dict[str, FloatLinear]:
    """Weights to quantize by tensor name; shapes are checked for all of them before any work."""
    linears: dict[str, FloatLinear] = {}
    for module, n, k in model.quantizable():
        linear = open_linear(checkpoint, module, n, k)
        if module in kept:
            continue
        if not isinstance(linear, FloatLinear):
            raise DovetailError(f"{checkpoint.path}: {module} is quantized already")
        if k % group_size:
            raise DovetailError(
                f"{checkpoint.path}: tensor {linear.tensor} has {k} inputs, expected a multiple of "
                f"the group size {group_size}; use a smaller group or "
                f"--keep {module.rsplit('.', 1)[-1]}"
            )
        linears[linear.tensor] = linear
    return linears


def _declare(tensor: str, linear: FloatLinear, options: QuantizeOptions) -> list[Declared]:
    module = tensor.removesuffix(".weight")
    groups = linear.k // options.group_size
    declared = [
        Declared(f"{module}.weight_packed", data_types.INT32, (linear.n, (linear.k + 7) // 8)),
        Declared(f"{module}.weight_scale", linear.dtype, (linear.n, groups)),
        Declared(f"{module}.weight_shape", data_types.INT64, (2,)),
    ]
    if options.asymmetric:
        declared.append(
            Declared(f"{module}.weight_zero_point", data_types.INT32, ((linear.n + 7) // 8, groups))
        )
    return declared


def _write_tensors(
    checkpoint: Checkpoint,
    folder: Path,
    linears: dict[str, FloatLinear],
    options: QuantizeOptions,
    progress: Silent,
) -> list[tuple[str, float, float]]:
    """Returns (module, squared error, squared norm) of every quantized module."""
    declared: list[Declared] = []
    for name in checkpoint:
        entry = checkpoint.entry(name)
        if name in linears:
            declared += _declare(name, linears[name], options)
        else:
            declared.append(Declared(name, entry.dtype, entry.shape))
    progress.start(sum(checkpoint.entry(name).nbytes for name in checkpoint))
    errors = []
    with CheckpointWriter(folder, declared, options.shard_bytes) as writer:
        for name in checkpoint:
            if name in linears:
                errors.append(_write_quantized(writer, linears[name], options, progress))
            else:
                _copy(writer, checkpoint, name, progress)
    return errors


def _copy(writer: CheckpointWriter, checkpoint: Checkpoint, name: str, progress: Silent) -> None:
    entry = checkpoint.entry(name)
    if not entry.shape:
        writer.write(name, checkpoint.read(name))
        progress.step(name, entry.nbytes)
        return
    for start, stop in _blocks(entry.shape[0], entry.nbytes // max(1, entry.shape[0])):
        rows = checkpoint.read_rows(name, start, stop)
        writer.write(name, rows)
        progress.step(name, rows.nbytes)


def _write_quantized(
    writer: CheckpointWriter, linear: FloatLinear, options: QuantizeOptions, progress: Silent
) -> tuple[str, float, float]:
    module = linear.tensor.removesuffix(".weight")
    error = norm = 0.0
    for start, stop in _blocks(linear.n, linear.k * 4):
        rows = linear.rows(start, stop)
        q = quantize_rows(rows, options.group_size, options.asymmetric, search_type(linear.dtype))
        writer.write(f"{module}.weight_packed", pack_columns(q.codes))
        writer.write(f"{module}.weight_scale", q.scales.astype(linear.dtype.numpy))
        if q.zero_points is not None:
            writer.write(f"{module}.weight_zero_point", pack_rows(q.zero_points))
        error += q.squared_error
        norm += q.squared_norm
        progress.step(module, rows.nbytes)
    writer.write(f"{module}.weight_shape", np.array([linear.n, linear.k], np.int64))
    return module, error, norm


def _blocks(rows: int, row_bytes: int) -> Iterator[tuple[int, int]]:
    """Ranges of rows of about BLOCK_BYTES, multiples of 8: zero points are packed by eight."""
    step = max(8, BLOCK_BYTES // max(1, row_bytes) // 8 * 8)
    for start in range(0, rows, step):
        yield start, min(start + step, rows)


def _write_config(
    checkpoint: Checkpoint, folder: Path, kept: list[str], model: Model, options: QuantizeOptions
) -> None:
    ignored = kept + ([model.family.tensors.head] if model.tied_head else [])
    config = dict(checkpoint.config.values)
    config["quantization_config"] = config_section(options.group_size, options.asymmetric, ignored)
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    copy_files(checkpoint.path, folder, COMPANIONS)


def _ratio(error: float, norm: float) -> float:
    return math.sqrt(error / norm) if norm > 0 else 0.0
