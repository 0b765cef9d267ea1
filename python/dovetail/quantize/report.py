# SPDX-License-Identifier: Apache-2.0
"""Shows the error of every layer after quantization."""

from __future__ import annotations

import re

from rich.console import Console
from rich.table import Table

from .run import Report


def show(report: Report, console: Console) -> None:
    """One row a layer, one column a kind of module; a cell is |W - Q| / |W|."""
    rows: dict[str, dict[str, float]] = {}
    for module in report.modules:
        match = re.search(r"\.(\d+)\..*?([^.]+)$", module.module)
        layer, kind = match.groups() if match else ("-", module.module)
        rows.setdefault(layer, {})[kind] = module.relative_error
    kinds = list(dict.fromkeys(kind for row in rows.values() for kind in row))
    zero_points = "asymmetric" if report.asymmetric else "symmetric"
    table = Table(
        title=f"Relative error, int4 {zero_points}, groups of {report.group_size}",
        title_justify="left",
    )
    table.add_column("layer", justify="right")
    for kind in kinds:
        table.add_column(kind, justify="right")
    for layer, row in rows.items():
        table.add_row(layer, *(f"{row[kind]:.4f}" if kind in row else "" for kind in kinds))
    console.print(table)
    console.print(f"all quantized weights: {report.relative_error:.4f}")
    if report.kept:
        console.print("kept: " + ", ".join(report.kept))
