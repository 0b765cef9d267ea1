# SPDX-License-Identifier: Apache-2.0
"""ONNX Runtime as it runs on a CPU without AVX-512, AVX-VNNI and AMX. It has no switch for that, so
a copy of the installed package is made, in .cache, whose CPUID instructions ask masked_cpuid.c. No
other byte of it changes: it chooses among its own kernels, as on an older CPU."""

import importlib.metadata
import importlib.util
import os
import pathlib
import re
import shutil
import subprocess

BENCHMARKS = pathlib.Path(__file__).resolve().parent
FOLDER = BENCHMARKS.parent / ".cache" / "onnxruntime-avx2"
CPUID, REFUSED = b"\x0f\xa2", b"\xd6\xd6"


def environment() -> dict[str, str]:
    """The variables of a process whose `import onnxruntime` gets that copy."""
    shim = FOLDER / "masked_cpuid.so"
    stamp = FOLDER / importlib.metadata.version("onnxruntime")
    if not stamp.exists():
        shutil.rmtree(FOLDER, ignore_errors=True)
        FOLDER.mkdir(parents=True)
        _copy_package()
        source = BENCHMARKS / "masked_cpuid.c"
        subprocess.run(["cc", "-O2", "-shared", "-fPIC", source, "-o", shim], check=True)
        stamp.touch()
    path = os.pathsep.join(filter(None, [str(FOLDER), os.environ.get("PYTHONPATH")]))
    return {"PYTHONPATH": path, "LD_PRELOAD": str(shim), "DOVETAIL_CPU": "avx2"}


def _copy_package() -> None:
    installed = pathlib.Path(importlib.util.find_spec("onnxruntime").origin).parent
    shutil.copytree(installed, FOLDER / "onnxruntime")
    [library] = (FOLDER / "onnxruntime" / "capi").glob("onnxruntime_pybind11_state*.so")
    code = bytearray(library.read_bytes())
    for address in _cpuid_addresses(library):
        if code[address : address + 2] != CPUID:
            raise SystemExit(f"{library}: no CPUID instruction at {address:#x}")
        code[address : address + 2] = REFUSED
    library.write_bytes(code)


def _cpuid_addresses(library: pathlib.Path) -> list[int]:
    """Offsets in the file, by the disassembler: the two bytes also occur inside others."""
    headers = subprocess.run(["objdump", "-h", library], capture_output=True, text=True, check=True)
    shifts = []  # start, end, file offset - address of the sections
    for line in headers.stdout.splitlines():
        if match := re.match(r"\s*\d+ \.\S+\s+(\w{8,})  (\w{8,})  \w{8,}  (\w{8,})", line):
            size, start, offset = (int(field, 16) for field in match.groups())
            shifts.append((start, start + size, offset - start))
    text = subprocess.run(
        ["objdump", "-d", "--no-show-raw-insn", library], capture_output=True, text=True, check=True
    ).stdout
    found = [int(a, 16) for a in re.findall(r"^\s*(\w+):\s+cpuid\s*$", text, re.MULTILINE)]
    if not found:
        raise SystemExit(f"{library}: no CPUID instruction found")
    return [a + next(by for low, high, by in shifts if low <= a < high) for a in found]
