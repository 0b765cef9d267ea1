# SPDX-License-Identifier: Apache-2.0
"""What the CUDA toolkit says of kernels: nvcc's resource report and nvdisasm's instructions.
nvdisasm is not part of every toolkit; the PyPI package nvidia-cuda-nvdisasm has it alone."""

import collections
import os
import pathlib
import re
import shutil
import subprocess
import sysconfig
from typing import NamedTuple

# Opcodes that tell how a kernel works, counted as they stand in the binary (not as often as they
# run): wide loads, cp.async, ldmatrix, bulk copies, matrix products, local memory.
INSTRUCTIONS = {
    "LDG.128": r"LDG\..*\b128\b",
    "LDGSTS": r"LDGSTS\b",
    "LDSM": r"LDSM\b",
    "TMA": r"(UTMALDG|UBLKCP)\b",
    "HMMA": r"HMMA\b",
    "HGMMA": r"HGMMA\b",
    "LOCAL": r"(LDL|STL)\b",
}


class Nvcc(NamedTuple):
    path: str
    release: str  # "13.0"

    def tool(self, name: str) -> str:
        return str(pathlib.Path(self.path).parent / name)


def find_nvcc() -> Nvcc:
    path = shutil.which("nvcc") or shutil.which("nvcc", path="/usr/local/cuda/bin")
    if path is None:
        raise SystemExit("cubins: nvcc is neither on PATH nor in /usr/local/cuda/bin")
    text = subprocess.run([path, "--version"], capture_output=True, text=True, check=True).stdout
    return Nvcc(path, re.search(r"release ([0-9.]+)", text)[1])


def find_nvdisasm() -> str | None:
    packages = pathlib.Path(sysconfig.get_paths()["purelib"])
    places = [os.environ.get("PATH", ""), "/usr/local/cuda/bin"]
    places += map(str, packages.glob("nvidia/*/bin"))
    return shutil.which("nvdisasm", path=os.pathsep.join(places))


def plain_names(symbols: list[str]) -> list[str]:
    """int4_gemm_kernel<Half, 2, 3> for a mangled name: no return type, parameters or namespaces of
    ours."""
    done = subprocess.run(
        ["c++filt"], input="\n".join(symbols), capture_output=True, text=True, check=True
    )
    names = []
    for name in done.stdout.splitlines():
        name = re.sub(r"\((dovetail::[A-Za-z:]+)\)(?=\d)", "", name)  # of enumerators
        name = re.sub(r"\(.*\)$", "", name).removeprefix("void ")
        names.append(re.sub(r"\b(?:dovetail|cuda|ptx)::", "", name))
    return names


def compiler_report(text: str) -> list[dict]:
    """ptxas -v: one dict a kernel, sorted by name."""
    kernels = []
    for part in text.split("Compiling entry function '")[1:]:
        spills = re.search(r"(\d+) bytes spill stores, (\d+) bytes spill loads", part)
        shared = re.search(r"(\d+) bytes smem", part)
        kernels.append(
            {
                "symbol": part.split("'", 1)[0],
                "registers": int(re.search(r"Used (\d+) registers", part)[1]),
                "static_shared_bytes": int(shared[1]) if shared else 0,
                "stack_bytes": int(re.search(r"(\d+) bytes stack frame", part)[1]),
                "spill_bytes": int(spills[1]) + int(spills[2]),
            }
        )
    for kernel, name in zip(kernels, plain_names([kernel["symbol"] for kernel in kernels])):
        kernel["name"] = name
    return sorted(kernels, key=lambda kernel: kernel["name"])


def instruction_mix(cubin: pathlib.Path) -> dict[str, dict[str, int]] | None:
    """INSTRUCTIONS by symbol; None where there is no nvdisasm."""
    nvdisasm = find_nvdisasm()
    if nvdisasm is None:
        return None
    done = subprocess.run([nvdisasm, "-c", cubin], capture_output=True, text=True, check=True)
    mix: dict[str, collections.Counter] = {}
    current = collections.Counter()
    for line in done.stdout.splitlines():
        if section := re.match(r"\s+\.section\s+\.text\.([^,]+),", line):
            current = mix.setdefault(section[1], collections.Counter())
        elif code := re.match(r"\s+/\*[0-9a-f]+\*/\s+(?:@!?U?P\w+ )?([A-Z][\w.]*)", line):
            for name, pattern in INSTRUCTIONS.items():
                current[name] += re.match(pattern, code[1]) is not None
    return {symbol: {name: counts[name] for name in INSTRUCTIONS} for symbol, counts in mix.items()}
