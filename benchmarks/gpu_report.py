# SPDX-License-Identifier: Apache-2.0
"""benchmarks/run.py gpu: rows as a line on the terminal and as a Markdown table.

python benchmarks/gpu_report.py gpu.json docs/performance.md   puts a run's tables into the document
"""

import json
import pathlib
import subprocess
import sys

import machine

# Where tables go in the document: those of the operators, and those of whole models.
PLACES = {
    False: ("<!-- run.py gpu -->\n", "<!-- end of run.py gpu -->"),
    True: ("<!-- run.py gpu --op model -->\n", "<!-- end of run.py gpu --op model -->"),
}


def head(repository: pathlib.Path) -> dict:
    import torch

    properties = torch.cuda.get_device_properties(0)
    query = ["nvidia-smi", "--query-gpu=driver_version,clocks.sm,clocks.max.sm,power.limit"]
    driver = subprocess.run([*query, "--format=csv,noheader"], capture_output=True, text=True)
    return machine.stamp(repository) | {
        "gpu": properties.name,
        "multiprocessors": properties.multi_processor_count,
        "l2_mib": properties.L2_cache_size / 2**20,
        "driver_clock_most_power": driver.stdout.splitlines()[0] if driver.stdout else "unknown",
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
    }


def _best(row: dict) -> str | None:
    return min(row["peers"], key=lambda peer: row["median_us"][peer], default=None)


def _shares(row: dict, ceilings: list[dict]) -> list[str]:
    """GB/s and TFLOP/s of our side with their share of the best ceiling of this run."""
    us = row["median_us"][row["ours"]]
    texts = []
    for key, amount in (("read_gb_per_s", 1e-3), (f"{row['peak']}_tflop_per_s", 1e-6)):
        rate = row["flops" if "flop" in key else "bytes"] * amount / us
        texts.append(f"{rate:.0f} ({rate / max(one[key] for one in ceilings):.0%})")
    return texts


def line(row: dict, ceilings: list[dict]) -> str:
    if "wrong" in row:
        return f"{row['op']:10} WRONG, not timed: {row['wrong']}"
    read, rate = _shares(row, ceilings)
    peers = "  ".join(
        f"{name} {us:.1f}" for name, us in row["median_us"].items() if name != row["ours"]
    )
    best = _best(row)
    ratio = f"x{row['ratio'][best]:.2f}" if best else ""
    host = f", host {row['host_us']:.1f}" if "host_us" in row else ""
    return (
        f"{row['shape']:44} {row['median_us'][row['ours']]:8.1f} us "
        f"(min {row['min_us'][row['ours']]:.1f}, {read} GB/s, {rate} TFLOP/s{host}) "
        f"{ratio} {row.get('note', '')} | {peers}"
    )


def _matrix_tables(rows: list[dict], ceilings: list[dict]) -> list[str]:
    """int4_gemm: for each matrix a line for each side, a column for each number of rows."""
    counts = list(dict.fromkeys(row["rows"] for row in rows))
    text = [
        "| K x N | us | " + " | ".join(f"M {m}" for m in counts) + " |",
        "| --- | --- " + "| --- " * len(counts) + "|",
    ]
    for matrix in dict.fromkeys(row["matrix"] for row in rows):
        cells = {row["rows"]: row for row in rows if row["matrix"] == matrix}

        def line(name: str, cell, matrix=matrix, cells=cells) -> str:
            values = [cell(cells[m]) if m in cells else "-" for m in counts]
            return f"| {matrix} | {name} | " + " | ".join(values) + " |"

        def share(row: dict) -> str:
            percent = [int(text[text.index("(") + 1 : -2]) for text in _shares(row, ceilings)]
            return f"{max(percent)}% of {'read' if percent[0] > percent[1] else 'peak'}"

        text.append(line("ours", lambda row: f"**{row['median_us'][row['ours']]:.1f}**"))
        for peer in dict.fromkeys(peer for row in cells.values() for peer in row["peers"]):
            text.append(
                line(peer, lambda row, peer=peer: f"{row['median_us'].get(peer, 0):.1f}")
            )
        text.append(line("best peer / ours", lambda row: f"{row['ratio'][_best(row)]:.2f}"))
        text.append(line("ours, share of the ceiling", share))
    return text


def _table(rows: list[dict], ceilings: list[dict]) -> list[str]:
    others = list(dict.fromkeys(name for row in rows for name in row["median_us"]))
    others = [name for name in others if name not in ("dovetail", "other", "plain")]
    heads = ["shape", "ours, us (min)", "GB/s (of read)", "TFLOP/s (of peak)"]
    heads += [f"{name}, us" for name in others] + ["best peer / ours", "beside ourselves"]
    text = ["| " + " | ".join(heads) + " |", "| --- " * len(heads) + "|"]
    for row in rows:
        us, best = row["median_us"], _best(row)
        cells = [
            row["shape"],
            f"{us[row['ours']]:.1f} ({row['min_us'][row['ours']]:.1f})",
            *_shares(row, ceilings),
            *(f"{us[name]:.1f}" if name in us else "-" for name in others),
            f"{row['ratio'][best]:.2f}" if best else "-",
            row.get("note", ""),
        ]
        text.append("| " + " | ".join(cells) + " |")
    return text


def _model_table(rows: list[dict], ceilings: list[dict]) -> list[str]:
    """Milliseconds. A decode step is a matter of bytes, a prompt one of flops: the larger share."""
    text = [
        "| step | ours, ms (min) | share of the ceiling | ours, no graph | ONNX Runtime int4 | "
        "the same, no graph | peer / ours |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        ms = {name: f"{us / 1e3:.2f}" for name, us in row["median_us"].items()}
        ours, peer = row["ours"], row["peers"][0]
        percent = [int(share[share.index("(") + 1 : -2]) for share in _shares(row, ceilings)]
        share = f"{max(percent)}% of {'read' if percent[0] > percent[1] else 'peak'}"
        text.append(
            f"| {row['shape']} | **{ms[ours]}** ({row['min_us'][ours] / 1e3:.2f}) | {share} | "
            f"{ms[f'{ours}, no graph']} | {ms[peer]} | {ms[f'{peer}, no graph']} | "
            f"{row['ratio'][peer]:.2f} |"
        )
    return text


def markdown(report: dict) -> str:
    h, ceilings = report["head"], report["ceilings"]
    timed = [row for row in report["rows"] if "wrong" not in row]

    def spread(key: str, digits: int = 0) -> str:
        values = [one[key] for one in ceilings]
        return f"{min(values):.{digits}f} to {max(values):.{digits}f}"

    text = [
        "# Dovetail beside PyTorch on the GPU",
        "",
        f"{h['gpu']}, {h['multiprocessors']} multiprocessors, L2 {h['l2_mib']:.0f} MiB; driver, "
        f"clock, highest clock, power: {h['driver_clock_most_power']}; torch {h['torch']}, CUDA "
        f"{h['cuda']}, cuDNN {h['cudnn']}; {h['date']}, commit {h['commit']}.",
        "",
        "Medians over alternating CUDA-graph replays, every call on cold buffers; ratio = peer / "
        f"ours in neighbouring replays. Ceilings of this run: read {spread('read_gb_per_s')} GB/s, "
        f"8192^3 fp16 {spread('fp16_tflop_per_s')} and bf16 {spread('bf16_tflop_per_s')} TFLOP/s, "
        f"an empty kernel in a graph {spread('launch_us', 2)} us, its launch by the host "
        f"{spread('host_launch_us', 1)} us. Shares are of the best.",
        "",
    ]
    judged = [row for row in timed if row["peers"] and not row.get("forced")]
    ratios = [(row["ratio"][_best(row)], row["shape"]) for row in judged]
    if ratios:
        text += [f"Worst row: ratio {min(ratios)[0]:.2f} at {min(ratios)[1]}.", ""]
    host = sorted(row["host_us"] for row in timed if "host_us" in row)
    if host:
        own = sorted(row["host_own_us"] for row in timed if "host_own_us" in row)
        text += [
            f"Host time of one call: median {host[len(host) // 2]:.1f} us, most {host[-1]:.1f} us; "
            f"less as many launches of an empty kernel: median {own[len(own) // 2]:.1f} us, most "
            f"{own[-1]:.1f} us.",
            "",
        ]
    for op in dict.fromkeys(row["op"] for row in timed):
        text += [f"## {op}", ""]
        rows = [row for row in timed if row["op"] == op]
        if op == "model":
            text += [*_model_table(rows, ceilings), ""]
            continue
        pivoted = [row for row in rows if "matrix" in row and row["peers"]]
        listed = [row for row in rows if row not in pivoted]
        text += [*_matrix_tables(pivoted, ceilings), ""] if pivoted else []
        text += [*_table(listed, ceilings), ""] if listed else []
    for row in report["rows"]:
        if "wrong" in row:
            text.append(f"- {row['op']}: WRONG, not timed: {row['wrong']}")
        text += [f"- {row['shape']}, {name}: {why}" for name, why in row.get("absent", {}).items()]
    return "\n".join(text)


def put_into(document: str, report: dict) -> str:
    """The document with this run's tables between their marker lines, one heading deeper. Tables
    of which the run has no row stay as they are."""
    for model, (begin, end) in PLACES.items():
        rows = [row for row in report["rows"] if (row["op"] == "model") == model]
        if rows:
            before, rest = document.split(begin)
            body = markdown(report | {"rows": rows}).split("\n", 2)[2].replace("\n## ", "\n### ")
            document = before + begin + "\n" + body.rstrip() + "\n\n" + end + rest.split(end)[1]
    return document


if __name__ == "__main__":
    run, page = map(pathlib.Path, sys.argv[1:])
    page.write_text(put_into(page.read_text(), json.loads(run.read_text())))
