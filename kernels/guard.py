# SPDX-License-Identifier: Apache-2.0
"""The regression guard: what the compiler made of each kernel, beside what is recorded in
recorded/<unit>.txt, one line for each architecture and kernel.

Spills are never allowed. Registers may exceed the record by REGISTER_SLACK, since ptxas moves by a
few; everything else is equal, or the change is recorded on purpose. Another compiler release makes
other code: then only spills are judged, and a line says so."""

import pathlib

import toolkit

RECORDED = pathlib.Path(__file__).resolve().parent / "recorded"
REGISTER_SLACK = 8
RECORD_AGAIN = "if that is meant, run `python kernels/cubins.py --record`"
COLUMNS = ["registers", "static_shared_bytes", *toolkit.INSTRUCTIONS]


def _figures(kernel: dict) -> list[int | None]:
    counts = kernel.get("instructions", {})
    return [kernel[name] if name in kernel else counts.get(name) for name in COLUMNS]


def _read(unit: str) -> tuple[str, dict[tuple[str, str], list[int]]]:
    """The recorded compiler, and figures by (architecture, kernel)."""
    file = RECORDED / f"{unit}.txt"
    if not file.exists():
        return "", {}
    head, _, *lines = file.read_text().splitlines()
    rows = {}
    for line in lines:
        *figures, name = line.split(maxsplit=len(COLUMNS) + 1)
        rows[figures[0], name] = [int(figure) for figure in figures[1:]]
    return head.rsplit(" ", 1)[-1], rows


def record(entries: list[dict]) -> None:
    """Writes these architectures of these units; other architectures keep their lines."""
    RECORDED.mkdir(exist_ok=True)
    for unit in dict.fromkeys(entry["unit"] for entry in entries):
        mine = [entry for entry in entries if entry["unit"] == unit]
        again = {entry["architecture"] for entry in mine}
        compiler, before = _read(unit)
        rows = {key: figures for key, figures in before.items() if key[0] not in again}
        if rows and compiler != mine[0]["compiler"]:
            raise SystemExit(f"cubins: {unit} is recorded with nvcc {compiler}: record every arch")
        for entry in mine:
            for kernel in entry["kernels"]:
                rows[entry["architecture"], kernel["name"]] = _figures(kernel)
                if "instructions" not in kernel:
                    raise SystemExit("cubins: recording needs nvdisasm (pip nvidia-cuda-nvdisasm)")
        widths = [max(5, len(name)) for name in COLUMNS]
        compiler = mine[0]["compiler"]
        lines = [f"# {unit}: recorded by kernels/cubins.py --record with nvcc {compiler}"]
        heads = [name.rjust(width) for name, width in zip(COLUMNS, widths)]
        lines.append(" ".join(["arch", *heads, "kernel"]))
        for (arch, name), figures in sorted(rows.items(), key=lambda row: (int(row[0][0]), row[0])):
            cells = [str(figure).rjust(width) for figure, width in zip(figures, widths)]
            lines.append(" ".join([arch.ljust(4), *cells, name]))
        (RECORDED / f"{unit}.txt").write_text("\n".join(lines) + "\n")


def _compare(where: str, kernel: dict, recorded: list[int]) -> list[str]:
    problems = []
    for name, now, before in zip(COLUMNS, _figures(kernel), recorded):
        if name == "registers":
            fine = now <= before + REGISTER_SLACK
        else:
            fine = now in (None, before)  # None: no disassembler
        if not fine:
            problems.append(f"{where}: {name} is {now}, recorded {before}; {RECORD_AGAIN}")
    return problems


def problems(entries: list[dict]) -> list[str]:
    """A sentence for each difference."""
    found = []
    for entry in entries:
        for kernel in entry["kernels"]:
            if kernel["spill_bytes"]:
                where = f"{kernel['name']}, sm_{entry['architecture']}"
                found.append(f"{where}: spills {kernel['spill_bytes']} bytes of registers")
        compiler, rows = _read(entry["unit"])
        if not compiler and any(RECORDED.glob("*.txt")):
            found.append(f"{entry['unit']}: not recorded; {RECORD_AGAIN}")
            continue
        if compiler != entry["compiler"]:
            before = f"recorded with {compiler}" if compiler else "nothing recorded"
            print(f"cubins: compared spills only: nvcc is {entry['compiler']}, {before}")
            continue
        if "instructions" not in entry["kernels"][0]:
            print("cubins: instruction mix left out: no nvdisasm here (pip nvidia-cuda-nvdisasm)")
        arch = entry["architecture"]
        now = {kernel["name"]: kernel for kernel in entry["kernels"]}
        before = {name: figures for (at, name), figures in rows.items() if at == arch}
        for name in before.keys() | now.keys():
            where = f"{name}, sm_{arch}"
            if name not in before:
                found.append(f"{where}: not recorded; {RECORD_AGAIN}")
            elif name not in now:
                found.append(f"{where}: recorded, but no longer there; {RECORD_AGAIN}")
            else:
                found += _compare(where, now[name], before[name])
    return sorted(found)
