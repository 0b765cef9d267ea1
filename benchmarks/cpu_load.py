# SPDX-License-Identifier: Apache-2.0
"""Loading a package of Llama-3.2-1B's shape, files in the page cache, and memory after the first
token: a process of its own for every sample, as a user starts it. Weights and embedding are
mapped, so what a process holds besides is copies and caches: `anonymous`."""

import json
import os
import pathlib
import statistics
import subprocess
from collections.abc import Iterator

import onnxruntime

from machine import BUILD
from random_package import CAPACITY, HEAD_SIZE, KV_HEADS, LAYERS, random_package


def measure(threads: int, quick: bool) -> Iterator[dict]:
    program = BUILD / "src" / "apps" / "dovetail-run"
    if not program.exists():
        raise SystemExit(f"{program} is missing: build the target dovetail-run")
    package = random_package()
    capi = pathlib.Path(onnxruntime.__file__).parent / "capi"
    library = next(capi.glob("libonnxruntime.so*"))
    command = [program, "bench", package, "--threads", str(threads), "--json", "--repeat", "1"]
    command += ["--prompt-tokens", "1", "--decode-tokens", "1"]
    samples = []
    for _ in range(4 if quick else 12):  # the first one brings the files into memory
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=True,
            env=os.environ | {"DOVETAIL_ONNXRUNTIME_LIBRARY": str(library)},
        )
        samples.append(json.loads(done.stdout))
    seconds = [sample["load_seconds"] for sample in samples[1:]]
    yield {
        "shape": "Llama-3.2-1B shape",
        "load_s": statistics.median(seconds),
        "load_min_s": min(seconds),
        "package_bytes": samples[-1]["package_bytes"],
        "kv_bytes": LAYERS * 2 * KV_HEADS * CAPACITY * HEAD_SIZE * 2,
        "peak_bytes": max(sample["peak_resident_bytes"] for sample in samples),
        "anonymous_bytes": max(sample["anonymous_resident_bytes"] for sample in samples),
    }
