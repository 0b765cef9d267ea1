# SPDX-License-Identifier: Apache-2.0
"""The `dovetail` command. Every failure is one sentence on stderr and exit code 1."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from . import __version__
from .errors import DovetailError
from .progress import Bar

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    help="From a Hugging Face checkpoint to a package that ONNX Runtime and TensorRT run.",
)

QUANTIZE_HELP = """Quantize the linear layers of a checkpoint to INT4.

The result is again a Hugging Face checkpoint (compressed-tensors, pack-quantized), so other tools
read it.

    dovetail quantize ./Llama-3.2-1B ./llama-int4 --group-size 128
    dovetail quantize ./Qwen3-0.6B ./qwen-int4 --group-size 32 --asymmetric --keep lm_head,down_proj
"""
EXPORT_HELP = """Export a checkpoint, quantized or not, to a model package.

    dovetail export ./llama-int4 ./llama-pkg
    dovetail export ./llama-int4 ./llama-gpu --device cuda --capacity 8192
    dovetail export ./llama-int4 ./llama-trt --engine tensorrt --dtype fp16 --max-batch 4
"""
BUILD_HELP = """Build a TensorRT engine from a package; for TensorRT for RTX also where no GPU is.

    dovetail build ./llama-trt ./engine --engine tensorrt --timing-cache jetson.cache
    dovetail build ./llama-trt ./engine --engine tensorrt-rtx --max-input 2048
"""
INSPECT_HELP = """Show what a package or a checkpoint holds and which engines can run it.

    dovetail inspect ./llama-pkg
"""


def _epilogued(text: str) -> dict[str, str]:
    """Splits a help text so that the example lines keep their breaks."""
    lines = text.strip().splitlines()
    examples = [line.strip() for line in lines if line.startswith("    ")]
    body = " ".join(line for line in lines if line and not line.startswith("    "))
    return {"help": body, "epilog": "**Examples**\n\n" + "\n\n".join(f"`{e}`" for e in examples)}


@app.command(no_args_is_help=True, **_epilogued(QUANTIZE_HELP))
def quantize(
    checkpoint: Annotated[Path, typer.Argument(help="Folder with config.json and safetensors.")],
    out: Annotated[Path, typer.Argument(help="Folder to create.")],
    group_size: Annotated[int, typer.Option(help="Weights per scale: 32, 64 or 128.")] = 128,
    asymmetric: Annotated[bool, typer.Option("--asymmetric", help="With zero points.")] = False,
    keep: Annotated[
        str,
        typer.Option(help="Modules to leave as they are, by name or part of it, comma separated."),
    ] = "",
    force: Annotated[bool, typer.Option("--force", help="Replace OUT if it exists.")] = False,
) -> None:
    from .quantize import QuantizeOptions
    from .quantize import quantize as run

    words = tuple(word.strip() for word in keep.split(",") if word.strip())
    options = QuantizeOptions(group_size, asymmetric, words, force)
    with Bar("Quantizing") as bar:
        report = run(checkpoint, out, options, bar)
    from .quantize.report import show

    show(report, Console())
    print(f"{out}: {_size(report.bytes_out)} (was {_size(report.bytes_in)})")


@app.command(no_args_is_help=True, **_epilogued(EXPORT_HELP))
def export(
    checkpoint: Annotated[Path, typer.Argument(help="Folder with config.json and safetensors.")],
    out: Annotated[Path, typer.Argument(help="Folder to create.")],
    engine: Annotated[str, typer.Option(help="onnxruntime or tensorrt.")] = "onnxruntime",
    dtype: Annotated[
        str | None,
        typer.Option(
            help="Activations: fp32, fp16 or bf16. Default fp32 on the CPU, fp16 on a GPU."
        ),
    ] = None,
    capacity: Annotated[
        int | None,
        typer.Option(
            help="Tokens that the KV cache holds per sequence. Default: as many as the model was "
            "trained for, at most 4096."
        ),
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="onnxruntime: cpu (default) or cuda; tensorrt: cuda.")
    ] = None,
    max_batch: Annotated[int, typer.Option(help="Sequences at a time.")] = 1,
    kv_dtype: Annotated[
        str | None,
        typer.Option(help="KV cache: fp32, fp16, bf16 or fp8. Default fp16; bf16 with bf16."),
    ] = None,
    tree: Annotated[bool, typer.Option("--tree", help="Inputs for tree decoding.")] = False,
    compute: Annotated[
        str, typer.Option(help="INT4 GEMM activations: auto, exact or int8 (rounded per group).")
    ] = "auto",
    head: Annotated[
        str, typer.Option(help="Logits head: auto (as in the checkpoint), float, or int4.")
    ] = "auto",
    head_group_size: Annotated[int, typer.Option(help="Group size of --head int4.")] = 32,
    layout: Annotated[
        str | None,
        typer.Option(
            help="INT4 weights: cpu_v1, edgellm_v1 or cuda_v1. Default cpu_v1 on the CPU, "
            "edgellm_v1 on a GPU; there cuda_v1 is faster, but the CPU does not read it."
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace OUT if it exists.")] = False,
) -> None:
    from .export import ExportOptions
    from .export import export as run

    options = ExportOptions(
        engine=engine,
        dtype=dtype,
        capacity=capacity,
        device=device,
        max_batch=max_batch,
        kv_dtype=kv_dtype,
        tree=tree,
        compute=compute,
        head=head,
        head_group_size=head_group_size,
        layout=layout,
        replace=force,
    )
    with Bar("Exporting") as bar:
        result = run(checkpoint, out, options, bar)
    for note in result.notes:
        print(f"note: {note}", file=sys.stderr)
    print(f"{out}: {_size(sum(result.manifest['files'].values()))}")


@app.command(no_args_is_help=True, **_epilogued(BUILD_HELP))
def build(
    package: Annotated[Path, typer.Argument(help="Folder made by export --engine tensorrt.")],
    out: Annotated[Path, typer.Argument(help="Folder to create.")],
    engine: Annotated[str, typer.Option(help="tensorrt or tensorrt-rtx.")],
    max_input: Annotated[
        int | None,
        typer.Option(
            help="Tokens of a prompt chunk. Default 1024, or the capacity if that is less."
        ),
    ] = None,
    max_tree: Annotated[int, typer.Option(help="Draft tokens of a tree (--tree packages).")] = 60,
    plugin_library: Annotated[
        Path | None, typer.Option(help="Another libdovetail_tensorrt.so than the one installed.")
    ] = None,
    workspace: Annotated[
        int | None, typer.Option(help="Limit of TensorRT's workspace in MiB.")
    ] = None,
    optimization_level: Annotated[int | None, typer.Option(help="0 (fast build) to 5.")] = None,
    timing_cache: Annotated[
        Path | None,
        typer.Option(help="File to read timings from, if it exists, and write them to."),
    ] = None,
    verbose: Annotated[
        bool, typer.Option("--verbose", help="TensorRT's whole log on stderr.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace OUT if it exists.")] = False,
) -> None:
    from .build import BuildOptions
    from .build import build as run

    options = BuildOptions(
        engine=engine,
        max_input=max_input,
        max_tree=max_tree,
        plugin_library=plugin_library,
        workspace_mib=workspace,
        optimization_level=optimization_level,
        timing_cache=timing_cache,
        verbose=verbose,
        replace=force,
    )
    result = run(package, out, options)
    print(
        f"{out}: {_size(result.engine_bytes)}, {len(result.plugins)} plugin nodes, "
        f"TensorRT {result.tensorrt_version}"
    )


@app.command(no_args_is_help=True, **_epilogued(INSPECT_HELP))
def inspect(
    path: Annotated[Path, typer.Argument(help="A package or a checkpoint folder.")],
    as_json: Annotated[bool, typer.Option("--json", help="Machine readable.")] = False,
) -> None:
    from .inspection import inspect as run
    from .inspection import show

    show(run(path), as_json, Console())


@app.callback(invoke_without_command=True)
def root(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        print(f"dovetail {__version__}")
        raise typer.Exit()


def _size(nbytes: int) -> str:
    return f"{nbytes / 2**20:.1f} MiB" if nbytes < 2**30 else f"{nbytes / 2**30:.2f} GiB"


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that unfinished output is removed
    try:
        app()
    except (DovetailError, MemoryError) as error:
        sys.exit(f"error: {error or 'out of memory'}")
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        sys.exit(f"error: {where}{error.strerror or error}")


if __name__ == "__main__":
    main()
