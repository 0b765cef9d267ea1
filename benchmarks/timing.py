# SPDX-License-Identifier: Apache-2.0
"""Alternating runs. A virtual machine drifts by tens of percent within minutes, so figures are
compared only with those of a neighbouring run: the ratio is the median over pairs, not a ratio of
medians."""

import statistics
import time
from collections.abc import Callable

Runs = dict[str, Callable[[], None]]


def use_threads(count: int) -> None:
    """One pool for every session of this process: the idle side must not spin on the other's
    cores."""
    import onnxruntime

    onnxruntime.set_global_thread_pool_sizes(count, 1)


def alternate(runs: Runs, seconds: float, least: int = 5) -> dict[str, list[float]]:
    """Seconds per run of each side, in rounds; at least `least` rounds."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for run in runs.values():
        run()
    names = list(runs)
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times[names[0]]) < least:
        for name in names:
            start = time.perf_counter()
            runs[name]()
            times[name].append(time.perf_counter() - start)
        names.reverse()
    return times


READ = "read"  # the side that only reads the weights (graphs.memory_reader)


def read_beside(
    times: dict[str, list[float]], ours: str, our_bytes: float, read_bytes: float
) -> dict[str, float]:
    """Takes the reading side out: its rate, and ours as a share of it in neighbouring runs."""
    reads = times.pop(READ)
    return {
        "read_gb_per_s": read_bytes / statistics.median(reads) / 1e9,
        "share_of_read": statistics.median(
            our_bytes / own / (read_bytes / read) for own, read in zip(times[ours], reads)
        ),
    }


def summary(times: dict[str, list[float]], ours: str, per_run: int = 1) -> dict:
    """Medians and minima in us per layer, and peer / ours."""
    us = {name: [t * 1e6 / per_run for t in series] for name, series in times.items()}
    return {
        "rounds": len(times[ours]),
        "median_us": {name: statistics.median(series) for name, series in us.items()},
        "min_us": {name: min(series) for name, series in us.items()},
        "ratio": {
            name: statistics.median(peer / own for peer, own in zip(us[name], us[ours]))
            for name in us
            if name != ours
        },
    }
