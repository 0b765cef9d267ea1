#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Dovetail beside its peers, on this machine, in one run: ONNX Runtime's own operators on the CPU,
PyTorch's on the GPU.

    python benchmarks/run.py cpu                         every row; about 15 minutes
    python benchmarks/run.py cpu --quick --op int4_gemm  a few rows
    python benchmarks/run.py cpu --threads 2 --out DIR   DIR/cpu.json and DIR/cpu.md
    python benchmarks/run.py cpu --avx2                  as on a CPU without AVX-512, both sides
    python benchmarks/run.py cpu --op model --llama-cpp  also beside llama.cpp
    python benchmarks/run.py cpu --op load --op profile  loading, memory, where a step's time goes
    python benchmarks/run.py gpu                         every row; about 90 seconds
    python benchmarks/run.py gpu --op attention --cells decode
    python benchmarks/run.py gpu --op model              whole decoders; needs onnxruntime-gpu

On the CPU both sides run inside ONNX Runtime, alternately, on one shared thread pool (one process
per thread count). Every layer has its own random weights or cache, more of them than the last-level
cache holds; a result is checked before it is timed. A ratio is the median over pairs of
neighbouring runs, peer / ours: above 1 we are faster. gpu_timing.py says how the GPU is timed.
"""

import argparse
import importlib
import json
import os
import pathlib
import subprocess
import sys
import tempfile

BENCHMARKS = pathlib.Path(__file__).resolve().parent
REPOSITORY = BENCHMARKS.parent
sys.path[:0] = [str(BENCHMARKS), str(REPOSITORY / "python")]

OPERATORS = {
    "cpu": ("int4_gemm", "attention", "model", "load", "profile"),
    "gpu": ("int4_gemm", "attention", "model"),
}


def measure_gpu(operators: list[str], quick: bool, cells: str) -> dict:
    import gpu_attention
    import gpu_int4_gemm
    import gpu_model
    import gpu_report
    import gpu_timing

    measures = {
        "int4_gemm": gpu_int4_gemm.measure,
        "attention": gpu_attention.measure,
        "model": gpu_model.measure,
    }
    report = {"head": gpu_report.head(REPOSITORY), "ceilings": [gpu_timing.ceilings()], "rows": []}
    for operator in operators:
        for row in measures[operator](quick, lambda cell: cells in cell):
            report["rows"].append({"op": operator} | row)
            print(gpu_report.line(report["rows"][-1], report["ceilings"]), flush=True)
        report["ceilings"].append(gpu_timing.ceilings())
    return report


def measure(operators: list[str], threads: int, quick: bool, llama_cpp: bool) -> dict:
    """All rows for one thread count, in this process: ONNX Runtime's shared pool cannot be
    resized."""
    import machine
    import timing

    timing.use_threads(threads)
    roofs = [machine.roofs(threads)]
    rows = []
    for operator in operators:
        extra = (llama_cpp,) if operator == "model" else ()
        measured = importlib.import_module(f"cpu_{operator}").measure(threads, quick, *extra)
        for row in measured:
            rows.append({"op": operator, "threads": threads} | row)
            print(machine.line(rows[-1]), flush=True)
        roofs.append(machine.roofs(threads))
    return {"threads": threads, "roofs": roofs, "rows": rows}


def write(folder: pathlib.Path, device: str, report: dict, text: str) -> int:
    """1 when a row was wrong, and so not timed."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{device}.json").write_text(json.dumps(report, indent=1))
    (folder / f"{device}.md").write_text(text)
    print(f"\nwritten: {folder / device}.json, {folder / device}.md")
    return int(any("wrong" in row for row in report.get("rows", [])))


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("device", choices=list(OPERATORS))
    parser.add_argument(
        "--op", choices=OPERATORS["cpu"], action="append", help="only this part; may be repeated"
    )
    parser.add_argument(
        "--cells",
        default="",
        help="gpu: only rows of this part: a shape as 4096 x 14336 or variants; prefill, chunked, "
        "decode, sm_80, bf16, tree, fp8, ragged, 1B, 8B",
    )
    parser.add_argument("--threads", default="1,2", help="thread counts, with commas (default 1,2)")
    parser.add_argument("--quick", action="store_true", help="few shapes, short times")
    parser.add_argument(
        "--out",
        type=pathlib.Path,
        default=REPOSITORY / "build" / "benchmarks",
        help="folder of <device>.json and <device>.md (default build/benchmarks)",
    )
    parser.add_argument(
        "--llama-cpp",
        action="store_true",
        help="model rows beside llama.cpp too: unpacks Debian's packages, writes a 700 MB model",
    )
    parser.add_argument(
        "--avx2",
        action="store_true",
        help="cpu: both sides held to AVX2; disassembles and copies the installed ONNX Runtime",
    )
    parser.add_argument("--worker", type=pathlib.Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    operators = arguments.op or list(OPERATORS[arguments.device])
    if unknown := set(operators) - set(OPERATORS[arguments.device]):
        parser.error(f"--op {unknown.pop()} is not measured on the {arguments.device}")
    if arguments.device == "gpu":
        import gpu_report

        report = measure_gpu(operators, arguments.quick, arguments.cells)
        return write(arguments.out, "gpu", report, gpu_report.markdown(report))
    counts = [int(count) for count in arguments.threads.split(",")]

    if arguments.worker:
        arguments.worker.write_text(
            json.dumps(measure(operators, counts[0], arguments.quick, arguments.llama_cpp))
        )
        return 0

    import machine
    import peer_avx2

    environment = os.environ | (peer_avx2.environment() if arguments.avx2 else {})
    parts = []
    with tempfile.TemporaryDirectory() as folder:
        for count in counts:
            result = pathlib.Path(folder) / f"{count}.json"
            command = [sys.executable, __file__, "cpu", "--threads", str(count)]
            command += [flag for op in operators for flag in ("--op", op)]
            command += ["--quick"] * arguments.quick + ["--llama-cpp"] * arguments.llama_cpp
            subprocess.run([*command, "--worker", str(result)], check=True, env=environment)
            parts.append(json.loads(result.read_text()))
    report = {"head": machine.head(REPOSITORY) | {"avx2": arguments.avx2}, "parts": parts}
    return write(arguments.out, "cpu", report, machine.markdown(report))


if __name__ == "__main__":
    sys.exit(main())
