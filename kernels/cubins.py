#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The CUDA kernels as binaries, without a GPU: one cubin for each unit (src/cuda/<unit>.cu) and
architecture, a manifest, and a guard over what the compiler made of them.

    python kernels/cubins.py                                     every unit, every architecture
    python kernels/cubins.py --arch 80,90,120 --unit int4_gemm_fp16
    python kernels/cubins.py --fatbin                            and <unit>.fatbin, to embed
    python kernels/cubins.py --check                             compare with kernels/recorded
    python kernels/cubins.py --record                            what is there now is right

A cubin that is younger than everything it was made of is not compiled again. kernels/README.md says
what the files hold and how to add an architecture or a variant."""

import argparse
import concurrent.futures
import fnmatch
import hashlib
import json
import os
import pathlib
import subprocess
import sys

import guard
import toolkit

REPOSITORY = pathlib.Path(__file__).resolve().parents[1]
UNITS = sorted(path.stem for path in (REPOSITORY / "src" / "cuda").glob("*.cu"))

# Name of the architecture to what nvcc is told. 90a: wgmma exists only in the architecture-specific
# set, and a cubin runs on its own architecture alone anyway.
ARCHITECTURES = {
    "80": "sm_80",
    "86": "sm_86",
    "87": "sm_87",
    "89": "sm_89",
    "90": "sm_90a",
    "100": "sm_100",
    "103": "sm_103",
    "110": "sm_110",
    "120": "sm_120",
    "121": "sm_121",
}
# Units for one architecture alone, by pattern; the others are for all.
ONLY = {"*_sm90a": "90", "*_middle_rows_*": "90", "*_warpgroup_*": "90"}
# What the guard watches: a main kernel of each kind on three generations. E4M3 is converted in
# software on 80 and by instructions on 90; the other pairs of types would take minutes.
GUARDED = {
    "80": ["int4_gemm_*", "attention_fp16", "attention_bf16_e4m3"],
    "90": ["int4_gemm_*", "attention_fp16", "attention_bf16_e4m3", "attention_sm90a"],
    "120": ["int4_gemm_*", "attention_fp16"],
}
FLAGS = ["-std=c++20", "--expt-relaxed-constexpr", "--Werror", "all-warnings"]


class Failed(Exception):
    """One sentence, and the tool's output."""


def _serves(unit: str, arch: str) -> bool:
    return all(arch == only for name, only in ONLY.items() if fnmatch.fnmatch(unit, name))


def _guarded(unit: str, arch: str) -> bool:
    return any(fnmatch.fnmatch(unit, name) for name in GUARDED.get(arch, []))


def _source_hash(files: list[str], flags: list[str]) -> str:
    digest = hashlib.sha256(" ".join(flags).encode())
    for name in files:
        digest.update(name.encode() + (REPOSITORY / name).read_bytes())
    return digest.hexdigest()


def _own_sources(depends: pathlib.Path) -> list[str]:
    """Files of this repository that the compiler's dependency file names."""
    words = depends.read_text().replace("\\\n", " ").split(":", 1)[1].split()
    paths = {pathlib.Path(word).resolve() for word in words}
    return sorted(str(p.relative_to(REPOSITORY)) for p in paths if p.is_relative_to(REPOSITORY))


def build(nvcc: toolkit.Nvcc, unit: str, arch: str, out: pathlib.Path) -> dict:
    """The manifest entry of out/<unit>.sm_<arch>.cubin, which exists afterwards."""
    cubin, entry_file = (out / f"{unit}.sm_{arch}.{suffix}" for suffix in ("cubin", "json"))
    flags = [*FLAGS, f"-arch={ARCHITECTURES[arch]}"]
    stamp = [nvcc.release, *flags]
    if cubin.exists() and entry_file.exists():
        entry = json.loads(entry_file.read_text())
        known = all((REPOSITORY / name).exists() for name in entry["sources"])
        if known and entry["source_hash"] == _source_hash(entry["sources"], stamp):
            return _with_mix(entry, cubin, entry_file)
    depends = cubin.with_suffix(".d")
    command = [nvcc.path, *flags, "-cubin", "-Xptxas", "-v", "-MD", "-MF", depends]
    command += ["-I", REPOSITORY / "src", "-I", REPOSITORY / "include"]
    command += [REPOSITORY / "src" / "cuda" / f"{unit}.cu", "-o", cubin]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise Failed(f"{unit} does not compile for sm_{arch}:\n{done.stdout}{done.stderr}")
    kernels = toolkit.compiler_report(done.stdout + done.stderr)
    if not kernels:
        raise Failed(f"{unit}, sm_{arch}: no kernel in the compiler's report")
    sources = _own_sources(depends)
    entry = {
        "unit": unit,
        "architecture": arch,
        "file": cubin.name,
        "bytes": cubin.stat().st_size,
        "compiler": nvcc.release,
        "flags": flags,
        "source_hash": _source_hash(sources, stamp),
        "sources": sources,
        "kernels": kernels,
    }
    depends.unlink()
    return _with_mix(entry, cubin, entry_file)


def _with_mix(entry: dict, cubin: pathlib.Path, entry_file: pathlib.Path) -> dict:
    """The entry with instruction counts, if there is a disassembler; written to its file."""
    if "instructions" not in entry["kernels"][0]:
        mix = toolkit.instruction_mix(cubin)
        for kernel in entry["kernels"] if mix else []:
            kernel["instructions"] = mix[kernel["symbol"]]
        entry_file.write_text(json.dumps(entry, indent=1))
    return entry


def _fatbin(nvcc: toolkit.Nvcc, unit: str, entries: list[dict], out: pathlib.Path) -> None:
    images = [
        f"--image3=kind=elf,sm={ARCHITECTURES[e['architecture']].removeprefix('sm_')},"
        f"file={out / e['file']}"
        for e in entries
    ]
    target = out / f"{unit}.fatbin"
    subprocess.run([nvcc.tool("fatbinary"), "-64", f"--create={target}", *images], check=True)


def _chosen(text: str, known: list[str], parser: argparse.ArgumentParser) -> list[str]:
    names = text.split(",") if text else known
    if unknown := [name for name in names if name not in known]:
        parser.error(f"{unknown[0]} is none of {', '.join(known)}")
    return names


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--arch", default="", help="with commas; default all ten")
    parser.add_argument(
        "--unit", default="", help="with commas; default all, or what the guard watches"
    )
    parser.add_argument("--out", type=pathlib.Path, default=REPOSITORY / "build" / "kernels")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--fatbin", action="store_true")
    verdict = parser.add_mutually_exclusive_group()
    verdict.add_argument("--check", action="store_true")
    verdict.add_argument("--record", action="store_true")
    verdict.add_argument("--list", action="store_true", help="print what the guard watches")
    arguments = parser.parse_args()
    units = _chosen(arguments.unit, UNITS, parser)
    architectures = _chosen(arguments.arch, list(ARCHITECTURES), parser)
    pairs = [(unit, arch) for unit in units for arch in architectures if _serves(unit, arch)]
    if arguments.list or (arguments.check or arguments.record) and not arguments.unit:
        pairs = [(unit, arch) for unit, arch in pairs if _guarded(unit, arch)]
    if arguments.list:
        print(";".join(f"{unit},{arch}" for unit, arch in pairs), end="")
        return 0
    out = arguments.out.resolve()
    out.mkdir(parents=True, exist_ok=True)

    nvcc = toolkit.find_nvcc()
    with concurrent.futures.ThreadPoolExecutor(arguments.jobs) as pool:
        futures = [pool.submit(build, nvcc, unit, arch, out) for unit, arch in pairs]
        try:
            entries = [future.result() for future in futures]
        except Failed as reason:
            pool.shutdown(cancel_futures=True)
            print(f"cubins: {reason}", file=sys.stderr)
            return 1
    for unit in {entry["unit"] for entry in entries} if arguments.fatbin else ():
        _fatbin(nvcc, unit, [entry for entry in entries if entry["unit"] == unit], out)
    count = sum(len(entry["kernels"]) for entry in entries)
    print(f"cubins: {len(entries)} cubins, {count} kernels, in {out}")
    if arguments.check:
        problems = guard.problems(entries)
        for problem in problems:
            print(problem, file=sys.stderr)
        return int(bool(problems))
    every = [json.loads(path.read_text()) for path in sorted(out.glob("*.sm_*.json"))]
    (out / "manifest.json").write_text(json.dumps({"version": 1, "cubins": every}, indent=1))
    if arguments.record:
        guard.record(entries)
    return 0


if __name__ == "__main__":
    sys.exit(main())
