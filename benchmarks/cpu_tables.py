# SPDX-License-Identifier: Apache-2.0
"""The rows without a peer: loading and memory (cpu_load), and where a step's time goes
(cpu_profile)."""

MEGABYTE = 1e6
KINDS = ("load", "profile")


def line(row: dict) -> str:
    head = f"{row['op']:10} {row['threads']} thr  {row['shape']:28}"
    if row["op"] == "load":
        return f"{head} {row['load_s']:.3f} s (min {row['load_min_s']:.3f}), {_memory(row)}"
    return (
        f"{head} {row['total_us']:10.1f} us with the profiler, "
        f"{row.get('other_share', row['profiled_share']):.1%} neither matrix nor KV: "
        + ", ".join(f"{op} {us:.0f}" for op, us in row["nodes_us"].items())
    )


def _memory(row: dict) -> str:
    allowed = row["package_bytes"] + row["kv_bytes"]
    return (
        f"{row['peak_bytes'] / MEGABYTE:.0f} MB resident at most, "
        f"{row['anonymous_bytes'] / MEGABYTE:.0f} MB of it not mapped from files; package "
        f"{row['package_bytes'] / MEGABYTE:.0f} MB + KV {row['kv_bytes'] / MEGABYTE:.0f} MB, "
        f"ratio {row['peak_bytes'] / allowed:.2f}"
    )


def text(rows: list[dict]) -> list[str]:
    """Markdown; rows of these kinds only."""
    lines = []
    for row in rows:
        if row["op"] == "load":
            lines += [
                f"Load, warm ({row['shape']}): {row['load_s']:.3f} s "
                f"(min {row['load_min_s']:.3f}). After the first token: {_memory(row)}.",
                "",
            ]
    profiles = [row for row in rows if row["op"] == "profile"]
    if not profiles:
        return lines
    operators = list(dict.fromkeys(op for row in profiles for op in row["nodes_us"]))
    lines += [
        "| node, ms a step | " + " | ".join(row["shape"] for row in profiles) + " |",
        "| --- |" + " --- |" * len(profiles),
    ]
    for op in operators:
        cells = []
        for row in profiles:
            us = row["nodes_us"].get(op, 0.0)
            cells.append(f"{us / 1e3:.3f} ({us / row['total_us']:.1%})")
        lines.append(f"| {op} | " + " | ".join(cells) + " |")

    def entries(title: str, cell) -> str:
        return f"| {title} | " + " | ".join(map(cell, profiles)) + " |"

    def rest(row: dict) -> str:
        us = row["total_us"] - sum(row["nodes_us"].values())
        return f"{us / 1e3:.3f} ({us / row['total_us']:.1%})"

    def unprofiled(key: str):
        return lambda row: f"{row[key] / 1e3:.3f}" if key in row else "-"

    lines += [
        entries("between the nodes, and the profiler", rest),
        entries("whole step", lambda row: f"{row['total_us'] / 1e3:.3f}"),
        entries("the same without the profiler", unprofiled("unprofiled_us")),
        entries("its matrix and attention nodes alone", unprofiled("matrix_us")),
        entries(
            "neither matrix nor KV, by the profile", lambda row: f"{row['profiled_share']:.1%}"
        ),
        entries(
            "neither matrix nor KV, without the profiler",
            lambda row: f"{row['other_share']:.1%}" if "other_share" in row else "-",
        ),
    ]
    return [*lines, ""]
