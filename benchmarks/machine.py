# SPDX-License-Identifier: Apache-2.0
"""The machine: who it is, its roofs as dovetail-bench measures them, and rows printed as shares of
them."""

import datetime
import importlib.metadata
import json
import os
import pathlib
import platform
import subprocess
import tempfile

import cpu_tables

REPOSITORY = pathlib.Path(__file__).resolve().parents[1]
BUILD = pathlib.Path(os.environ.get("DOVETAIL_BUILD_DIR", REPOSITORY / "build" / "cpu"))
READ_OPERATOR = BUILD / "benchmarks" / "libdovetail_read_operator.so"


def roofs(threads: int) -> dict:
    """tier, read_gb_per_s, fma_gflop_per_s, int8_gop_per_s with this many threads."""
    program = BUILD / "benchmarks" / "dovetail-bench"
    if not program.exists():
        raise SystemExit(
            f"{program} is missing: build the target dovetail-bench, or set DOVETAIL_BUILD_DIR"
        )
    with tempfile.TemporaryDirectory() as folder:
        report = pathlib.Path(folder) / "roofs.json"
        subprocess.run(
            [
                program,
                "--op",
                "int4",
                "--shape",
                "1x512x512",
                "--seconds",
                "0.02",
                "--threads",
                str(threads),
                "--json",
                report,
            ],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        result = json.loads(report.read_text())
    return {"tier": result["tier"]} | result["roofs"]


def _cpu() -> dict[str, str]:
    lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    fields = {
        key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)
    }
    return {
        "model": fields.get("model name", platform.machine()),
        "mhz": fields.get("cpu MHz", "unknown"),
        "cache": fields.get("cache size", "unknown"),
    }


def stamp(repository: pathlib.Path) -> dict:
    """What every report begins with, on any device."""
    git = subprocess.run(
        ["git", "-C", repository, "describe", "--always", "--dirty"], capture_output=True, text=True
    )
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "kernel": platform.release(),
        "commit": git.stdout.strip() or "unknown",
        "python": platform.python_version(),
    }


def head(repository: pathlib.Path) -> dict:
    cpu = _cpu()
    return stamp(repository) | {
        "cpu": cpu["model"],
        "logical_cpus": os.cpu_count(),
        "mhz_now": cpu["mhz"],
        "onnxruntime": importlib.metadata.version("onnxruntime"),
    }


def line(row: dict) -> str:
    if row["op"] in cpu_tables.KINDS:
        return cpu_tables.line(row)
    ours = row["median_us"][row["ours"]]
    read = f" = {row['share_of_read']:.0%} of read" if "share_of_read" in row else ""
    peers = "  ".join(
        f"{peer} {row['median_us'][peer]:.0f} us, x{row['ratio'][peer]:.2f}"
        for peer in row["peers"]
    )
    return (
        f"{row['op']:10} {row['threads']} thr  {row['shape']:28} {ours:10.1f} us "
        f"(min {row['min_us'][row['ours']]:.1f}, {row['bytes'] / ours / 1e3:.1f} GB/s{read}, "
        f"{row['flops'] / ours / 1e3:.0f} GOP/s)  {peers}"
    )


def _threads(count: int) -> str:
    return f"{count} thread{'s' if count > 1 else ''}"


def _times(row: dict, side: str) -> str:
    return f"{row['median_us'][side] / 1e3:.3g} ({row['min_us'][side] / 1e3:.3g})"


def _table(part: dict) -> list[str]:
    best = {
        key: max(roof[key] for roof in part["roofs"]) for key in part["roofs"][0] if key != "tier"
    }
    spread = [roof["read_gb_per_s"] for roof in part["roofs"]]
    compared = [row for row in part["rows"] if row["op"] not in cpu_tables.KINDS]
    text = [
        f"## {_threads(part['threads'])}, tier {part['roofs'][0]['tier']}",
        "",
        f"Roofs of this run: DRAM read {min(spread):.1f} to {max(spread):.1f} GB/s, fp32 "
        f"{best['fma_gflop_per_s']:.0f} GFLOP/s, "
        f"int8 {best['int8_gop_per_s']:.0f} GOP/s. Shares are of the best; a share of read in bold is "
        "of a plain read of the same weights in neighbouring runs.",
        "",
        *cpu_tables.text([row for row in part["rows"] if row["op"] in cpu_tables.KINDS]),
    ]
    if not compared:
        return text
    text += [
        "| op | shape | ours, ms (min) | GB/s (of read) | GOP/s (of peak) | peer, ms (min) "
        "| ratio |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in compared:
        us = row["median_us"][row["ours"]]
        read, rate = row["bytes"] / us / 1e3, row["flops"] / us / 1e3
        peak = best["fma_gflop_per_s" if row["bound"] == "fma" else "int8_gop_per_s"]
        share = f"{read / best['read_gb_per_s']:.0%}"
        if "share_of_read" in row:
            share = f"**{row['share_of_read']:.0%}** of {row['read_gb_per_s']:.1f}"
        fastest = min(row["peers"], key=lambda peer: row["median_us"][peer])
        note = f" ({fastest.rsplit(' ', 1)[-1]})" if len(row["peers"]) > 1 else ""
        speed = row.get("tokens_per_second")
        tokens = f", {speed[row['ours']]:.1f} tok/s" if speed else ""
        peer_tokens = f", {speed[fastest]:.1f} tok/s" if speed else ""
        text.append(
            f"| {row['op']} | {row['shape']} | {_times(row, row['ours'])}{tokens} "
            f"| {read:.1f} ({share}) | {rate:.0f} ({rate / peak:.0%}) "
            f"| {_times(row, fastest)}{note}{peer_tokens} "
            f"| {row['ratio'][fastest]:.2f} |"
        )
    return text


def markdown(report: dict) -> str:
    h = report["head"]
    text = [
        "# Dovetail beside ONNX Runtime on the CPU",
        "",
        f"{h['cpu']}, {h['logical_cpus']} logical CPUs at {h['mhz_now']} MHz now, kernel "
        f"{h['kernel']}; {h['date']}, commit {h['commit']}, ONNX Runtime {h['onnxruntime']}"
        f"{' held to AVX2 (peer_avx2.py)' if h['avx2'] else ''}, "
        f"Python {h['python']}. Times are medians per layer (per call for `model`), ratio = peer / "
        "ours in neighbouring runs.",
        "",
    ]
    ratios = [
        (min(row["ratio"].values()), row["shape"], part["threads"])
        for part in report["parts"]
        for row in part["rows"]
        if "ratio" in row
    ]
    if ratios:
        worst = min(ratios)
        text += [f"Worst row: ratio {worst[0]:.2f} at {worst[1]}, {_threads(worst[2])}.", ""]
    for part in report["parts"]:
        text += [*_table(part), ""]
    return "\n".join(text)
