# SPDX-License-Identifier: Apache-2.0
"""llama.cpp as Debian packages it, unpacked into .cache and started through its own dynamic loader,
on a random Q4_0 model of the same shape. It runs between our measurements, not alternately with
them: a process of its own. Its threads spin, so on a busy machine its figures mean nothing."""

import json
import os
import pathlib
import statistics
import subprocess

import gguf_file

REPOSITORY = pathlib.Path(__file__).resolve().parents[1]
FOLDER = REPOSITORY / ".cache" / "llama.cpp"
PACKAGES = [
    *["llama.cpp-tools", "libllama0", "libggml0", "libc6", "libstdc++6", "libgcc-s1"],
    *["libgomp1", "libssl3t64", "libzstd1", "zlib1g"],
]
# The CPU build that the flags of /proc/cpuinfo ask for; first match.
VARIANTS = [
    ("sapphirerapids", {"amx_int8", "avx512_bf16"}),
    ("zen4", {"avx512_vnni", "avx512_bf16"}),
    ("icelake", {"avx512_vnni", "avx512_vbmi"}),
    ("haswell", {"avx2", "fma", "f16c"}),
    ("x64", set()),
]


class LlamaCpp:
    name = "llama.cpp"

    def __init__(self, **shape: int) -> None:
        """Raises RuntimeError with the reason when it cannot be had here."""
        self._libraries = FOLDER / "usr" / "lib" / "x86_64-linux-gnu"
        if not (FOLDER / "usr" / "bin" / "llama-bench").exists():
            fetch = [REPOSITORY / "scripts" / "unpack_packages.sh", FOLDER, "forky", "resolute"]
            done = subprocess.run([*fetch, *PACKAGES], capture_output=True, text=True)
            if done.returncode != 0:
                raise RuntimeError(done.stderr.strip().splitlines()[-1])
        flags = set(pathlib.Path("/proc/cpuinfo").read_text().split())
        if os.environ.get("DOVETAIL_CPU") == "avx2":
            flags = {flag for flag in flags if not flag.startswith(("avx512", "amx"))}
        self.variant = next(name for name, needed in VARIANTS if needed <= flags)
        self._model = FOLDER / "random-llama.gguf"
        if not self._model.exists():
            partial = self._model.with_suffix(".partial")
            gguf_file.write_random_llama(partial, **shape)
            partial.rename(self._model)

    def microseconds(self, threads: int, tokens: int, past: int, repeat: int) -> list[float]:
        """Per call: one token behind `past` others, or `tokens` at once."""
        steps = 8
        what = ["-p", "0", "-n", str(steps)] if tokens == 1 else ["-p", str(tokens), "-n", "0"]
        backend = self._libraries / "ggml" / "backends0" / f"libggml-cpu-{self.variant}.so"
        paths = [self._libraries, self._libraries / "llama", backend.parent]
        command = [
            *[
                self._libraries / "ld-linux-x86-64.so.2",
                "--library-path",
                ":".join(map(str, paths)),
            ],
            *[
                FOLDER / "usr" / "bin" / "llama-bench",
                "-m",
                self._model,
                "-o",
                "json",
                "-r",
                str(repeat),
            ],
            *["-t", str(threads), "-d", str(past), *what],
        ]
        done = subprocess.run(
            command, capture_output=True, text=True, env={"GGML_BACKEND_PATH": str(backend)}
        )
        if done.returncode != 0:
            raise RuntimeError(f"llama-bench failed: {done.stderr.strip()[-300:]}")
        samples = json.loads(done.stdout)[0]["samples_ns"]
        return [ns / 1e3 / (steps if tokens == 1 else 1) for ns in samples]


def add_row(row: dict, llama: LlamaCpp, threads: int, tokens: int, past: int, repeat: int) -> None:
    us = llama.microseconds(threads, tokens, past, repeat)
    name = llama.name
    row["peers"].append(name)
    row["median_us"][name], row["min_us"][name] = statistics.median(us), min(us)
    row["ratio"][name] = row["median_us"][name] / row["median_us"][row["ours"]]
    row["tokens_per_second"][name] = tokens * 1e6 / row["median_us"][name]
