# SPDX-License-Identifier: Apache-2.0
"""Prints the demo's table from the JSON that dovetail-run wrote into the folder given."""

import json
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table


def main(folder: Path) -> None:
    table = Table(title="The bundled 5 M parameter model on held-out text")
    headings = ("weights", "perplexity", "prefill tok/s", "decode tok/s", "peak MiB", "package MiB")
    for heading in headings:
        table.add_column(heading, justify="left" if heading == "weights" else "right")
    for kind, name in (("float", "original"), ("int4", "INT4")):
        perplexity = json.loads((folder / f"{kind}-perplexity.json").read_text())
        bench = json.loads((folder / f"{kind}-bench.json").read_text())
        row = bench["rows"][0]
        table.add_row(
            name,
            f"{perplexity['perplexity']:.3f}",
            f"{row['prefill_tokens_per_second']:,.0f}",
            f"{row['decode_tokens_per_second']:,.0f}",
            f"{bench['peak_resident_bytes'] / 2**20:.0f}",
            f"{bench['package_bytes'] / 2**20:.1f}",
        )
    table.caption = f"{bench['threads']} threads, CPU tier {bench['tier']}"
    Console().print(table)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
