#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Dovetail beside ONNX Runtime's own operators, on this machine, in one run.

    python benchmarks/run.py cpu                         every row; about 15 minutes
    python benchmarks/run.py cpu --quick --op int4_gemm  a few rows
    python benchmarks/run.py cpu --threads 2 --out DIR   DIR/cpu.json and DIR/cpu.md
    python benchmarks/run.py cpu --op model --llama-cpp  also beside llama.cpp

Both sides run inside ONNX Runtime, alternately, on one shared thread pool (one process per thread
count). Every layer has its own random weights or cache, more of them than the last-level cache
holds; a result is checked before it is timed. A ratio is the median over pairs of neighbouring
runs, peer / ours: above 1 we are faster.
"""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

BENCHMARKS = pathlib.Path(__file__).resolve().parent
REPOSITORY = BENCHMARKS.parent
sys.path[:0] = [str(BENCHMARKS), str(REPOSITORY / "python")]

OPERATORS = ("int4_gemm", "attention", "model")


def measure(operators: list[str], threads: int, quick: bool, llama_cpp: bool) -> dict:
    """All rows for one thread count, in this process: ONNX Runtime's shared pool cannot be
    resized."""
    import cpu_attention
    import cpu_int4_gemm
    import cpu_model
    import machine
    import timing

    timing.use_threads(threads)
    measures = {
        "int4_gemm": cpu_int4_gemm.measure,
        "attention": cpu_attention.measure,
        "model": cpu_model.measure,
    }
    roofs = [machine.roofs(threads)]
    rows = []
    for operator in operators:
        extra = (llama_cpp,) if operator == "model" else ()
        for row in measures[operator](threads, quick, *extra):
            rows.append({"op": operator, "threads": threads} | row)
            print(machine.line(rows[-1]), flush=True)
        roofs.append(machine.roofs(threads))
    return {"threads": threads, "roofs": roofs, "rows": rows}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("device", choices=["cpu"])
    parser.add_argument(
        "--op", choices=OPERATORS, action="append", help="only this part; may be repeated"
    )
    parser.add_argument("--threads", default="1,2", help="thread counts, with commas (default 1,2)")
    parser.add_argument("--quick", action="store_true", help="few shapes, short times")
    parser.add_argument(
        "--out",
        type=pathlib.Path,
        default=REPOSITORY / "build" / "benchmarks",
        help="folder of cpu.json and cpu.md (default build/benchmarks)",
    )
    parser.add_argument(
        "--llama-cpp",
        action="store_true",
        help="model rows beside llama.cpp too: unpacks Debian's packages, writes a 700 MB model",
    )
    parser.add_argument("--worker", type=pathlib.Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    operators = arguments.op or list(OPERATORS)
    counts = [int(count) for count in arguments.threads.split(",")]

    if arguments.worker:
        arguments.worker.write_text(
            json.dumps(measure(operators, counts[0], arguments.quick, arguments.llama_cpp))
        )
        return 0

    import machine

    parts = []
    with tempfile.TemporaryDirectory() as folder:
        for count in counts:
            result = pathlib.Path(folder) / f"{count}.json"
            command = [sys.executable, __file__, "cpu", "--threads", str(count)]
            command += [flag for op in operators for flag in ("--op", op)]
            command += ["--quick"] * arguments.quick + ["--llama-cpp"] * arguments.llama_cpp
            subprocess.run([*command, "--worker", str(result)], check=True)
            parts.append(json.loads(result.read_text()))
    report = {"head": machine.head(REPOSITORY), "parts": parts}
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "cpu.json").write_text(json.dumps(report, indent=1))
    (arguments.out / "cpu.md").write_text(machine.markdown(report))
    print(f"\nwritten: {arguments.out / 'cpu.json'}, {arguments.out / 'cpu.md'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
