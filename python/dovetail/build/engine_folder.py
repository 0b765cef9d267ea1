# SPDX-License-Identifier: Apache-2.0
"""An engine folder from a package: llm.engine, config.json with what it was built for, the
embedding, the RoPE table and the tokenizer."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import tensorrt_library
from ..checkpoint.config import load_json
from ..errors import DovetailError
from ..inspection import read_manifest
from ..output_folder import copy_files, output_folder
from . import process
from .profiles import profiles

ENGINE_FILE = "llm.engine"
COPIED = (
    "embedding.safetensors",
    "rope.safetensors",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
)


@dataclass(frozen=True)
class BuildOptions:
    engine: str  # "tensorrt" or "tensorrt-rtx"
    max_input: int | None = None  # tokens of a prompt chunk; None: 1024, or the capacity if less
    max_tree: int = 60  # draft tokens of a tree, for packages with tree inputs
    plugin_library: Path | None = None  # None: the one beside this package
    workspace_mib: int | None = None  # None: TensorRT's default
    optimization_level: int | None = None  # 0 to 5; None: TensorRT's default
    timing_cache: Path | None = None  # read if it exists, then written
    verbose: bool = False
    replace: bool = False


@dataclass(frozen=True)
class BuildResult:
    tensorrt_version: str
    engine_bytes: int
    plugins: list[str]  # names of our nodes


def build(package: Path | str, target: Path | str, options: BuildOptions) -> BuildResult:
    source = Path(package)
    if not (source / "manifest.json").is_file():
        raise DovetailError(
            f"{source}: no manifest.json, expected a package made by `dovetail export "
            "--engine tensorrt`"
        )
    manifest = read_manifest(source)
    max_input = _check(source, manifest, options)
    tensorrt = process.find(options.engine)
    if options.timing_cache is not None and tensorrt.times_at_load:
        raise DovetailError(
            f"--timing-cache has no meaning for --engine {options.engine}, which chooses kernels "
            "when an engine is loaded; leave it out"
        )
    library = str(options.plugin_library or tensorrt_library())
    if not Path(library).is_file():
        raise DovetailError(f"{library}: no such file, expected the plugin library")
    with output_folder(target, options.replace) as folder:
        request = {
            "library": str(Path(library).resolve()),
            "model": str((source / "model.onnx").resolve()),
            "engine": str(folder / ENGINE_FILE),
            "profiles": profiles(manifest, max_input, options.max_tree),
            "workspace_bytes": None
            if options.workspace_mib is None
            else options.workspace_mib << 20,
            "optimization_level": options.optimization_level,
            "timing_cache": str(options.timing_cache.resolve()) if options.timing_cache else None,
            "verbose": options.verbose,
        }
        answer = process.run(tensorrt, request)
        copy_files(source, folder, COPIED)
        _write_config(source, folder, manifest, options, max_input, answer)
    return BuildResult(answer["tensorrt"], answer["bytes"], answer["plugins"])


def _check(source: Path, manifest: dict[str, Any], options: BuildOptions) -> int:
    if manifest["engine"] != "tensorrt":
        raise DovetailError(
            f"{source}: the package is for engine {manifest['engine']}; export it again with "
            "--engine tensorrt"
        )
    capacity = manifest["capacity"]
    max_input = min(1024, capacity) if options.max_input is None else options.max_input
    if not 1 <= max_input <= capacity:
        raise DovetailError(f"--max-input is {max_input}, expected 1 to the capacity {capacity}")
    if manifest["tree"] and not 1 <= options.max_tree <= capacity:
        raise DovetailError(
            f"--max-tree is {options.max_tree}, expected 1 to the capacity {capacity}"
        )
    if options.workspace_mib is not None and options.workspace_mib < 0:
        raise DovetailError(f"--workspace is {options.workspace_mib} MiB, expected at least 0")
    if options.optimization_level is not None and not 0 <= options.optimization_level <= 5:
        raise DovetailError(
            f"--optimization-level is {options.optimization_level}, expected 0 to 5"
        )
    return max_input


def _write_config(
    source: Path,
    folder: Path,
    manifest: dict[str, Any],
    options: BuildOptions,
    max_input: int,
    answer: dict[str, Any],
) -> None:
    """The model's config.json, what the engine was built for, and the manifest of the package with
    the files of this folder: all that dovetail-run needs to know."""
    config = load_json(source / "config.json")
    config["builder_config"] = {
        "engine": options.engine,
        "tensorrt_version": answer["tensorrt"],
        "max_input_len": max_input,
        "max_kv_cache_capacity": manifest["capacity"],
        "max_batch_size": manifest["max_batch"],
        "max_verify_tree_size": options.max_tree if manifest["tree"] else 0,
    }
    files = {path.name: path.stat().st_size for path in sorted(folder.iterdir())}
    config["dovetail_package"] = manifest | {"files": files}
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
