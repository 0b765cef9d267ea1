# SPDX-License-Identifier: Apache-2.0
"""Alternating CUDA-graph replays, and the ceilings of this run.

A side is a list of calls, each on buffers of its own, more of them than three times the L2 holds.
A graph goes round those buffers for about 400 us, so the start of a replay weighs little; the
graphs of all sides are replayed in turn and timed with events."""

import math
import statistics
from collections.abc import Callable

import torch

import gpu_operators
import timing

Calls = list[Callable[[], None]]
STREAM = torch.cuda.Stream()
COLD_BYTES = 3.2 * torch.cuda.get_device_properties(0).L2_cache_size
GRAPH_SECONDS, LONGEST_GRAPH = 400e-6, 8e-3


def copies(bytes_each: float) -> int:
    """Buffers to rotate over, so that each is read cold."""
    return max(2, 1 + math.ceil(COLD_BYTES / bytes_each))


def _seconds(action: Callable[[], None]) -> float:
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    action()
    end.record()
    end.synchronize()
    return start.elapsed_time(end) * 1e-3


def _capture(calls: Calls) -> tuple[torch.cuda.CUDAGraph, int]:
    once = min(_seconds(calls[i % len(calls)]) for i in range(3))
    nodes = max(len(calls), math.ceil(GRAPH_SECONDS / once))
    nodes = max(2, min(nodes, math.ceil(LONGEST_GRAPH / once)))
    graph = torch.cuda.CUDAGraph()
    torch.cuda.synchronize()
    graph.capture_begin(capture_error_mode="thread_local")
    for i in range(nodes):
        calls[i % len(calls)]()
    graph.capture_end()
    graph.replay()
    return graph, nodes


def alternate(sides: dict[str, Calls], seconds: float, least: int = 7) -> dict[str, list[float]]:
    """Seconds per call of each side, one figure a replay; at least `least` rounds."""
    with torch.cuda.stream(STREAM):
        graphs = {name: _capture(calls) for name, calls in sides.items()}
        round_seconds = sum(_seconds(graph.replay) for graph, _ in graphs.values())
        names = list(graphs)
        marks = []
        for _ in range(max(least, min(100, int(seconds / round_seconds)))):
            for name in names:
                start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
                start.record()
                graphs[name][0].replay()
                end.record()
                marks.append((name, start, end))
            names.reverse()
        STREAM.synchronize()
    times: dict[str, list[float]] = {name: [] for name in graphs}
    for name, start, end in marks:
        times[name].append(start.elapsed_time(end) * 1e-3 / graphs[name][1])
    return times


def measure(sides: dict[str, Calls], ours: str, quick: bool) -> dict:
    """timing.summary of the sides, the host's cost of one of our calls, and what of it is not the
    driver's: less as many launches of an empty kernel, in turn with it."""
    summary = timing.summary(alternate(sides, 0.05 if quick else 0.12), ours)
    call = sides[ours][0]
    with torch.cuda.stream(STREAM):
        launches = call.launches()
    whole, empty = _host_us(call.host_us, _empty_host_us)
    return summary | {"host_us": whole, "host_own_us": whole - launches * empty}


def _empty_host_us(calls: int) -> float:
    library, stream = gpu_operators.LIBRARY, gpu_operators.stream
    return library.dovetail_host_seconds_empty(stream(), calls) * 1e6 / calls


def _host_us(*host_us_of: Callable[[int], float]) -> list[float]:
    """Of one call among 100 in a row, which the launch queue holds without waiting; of each kind.
    The stream is idle afterwards: the buffers of these calls may be freed."""
    series: list[list[float]] = [[] for _ in host_us_of]
    STREAM.synchronize()
    with torch.cuda.stream(STREAM):
        for _ in range(7):
            for one, figures in zip(host_us_of, series, strict=True):
                figures.append(one(100))
                STREAM.synchronize()
    return [statistics.median(figures) for figures in series]


def ceilings() -> dict[str, float]:
    """read_gb_per_s, fp16_tflop_per_s, bf16_tflop_per_s, launch_us (an empty kernel in a graph) and
    host_launch_us (what launching it takes the host), now."""
    library, stream = gpu_operators.LIBRARY, gpu_operators.stream
    data = torch.zeros(1 << 30, dtype=torch.uint8, device="cuda")
    sink = torch.zeros(1, dtype=torch.int32, device="cuda")
    size = 8192
    sides = {
        "read": [
            lambda: library.dovetail_launch_read(
                data.data_ptr(), data.numel(), sink.data_ptr(), stream()
            )
        ],
        "empty": [lambda: library.dovetail_launch_empty(stream())],
    }
    for name, dtype in (("fp16", torch.float16), ("bf16", torch.bfloat16)):
        a, b = (torch.randn(size, size, device="cuda", dtype=dtype) for _ in range(2))
        out = torch.empty_like(a)
        sides[name] = [lambda a=a, b=b, out=out: torch.matmul(a, b.T, out=out)]
    times = {name: statistics.median(series) for name, series in alternate(sides, 0.15).items()}
    return {
        "read_gb_per_s": data.numel() / times["read"] / 1e9,
        "fp16_tflop_per_s": 2 * size**3 / times["fp16"] / 1e12,
        "bf16_tflop_per_s": 2 * size**3 / times["bf16"] / 1e12,
        "launch_us": times["empty"] * 1e6,
        "host_launch_us": _host_us(_empty_host_us)[0],
    }


class Wrong(Exception):
    """A result that may not be timed."""


def row_or_reason(make: Callable[[], dict]) -> dict:
    """A row, or why our side of it was not timed."""
    try:
        return make()
    except (Wrong, gpu_operators.OperatorError) as reason:
        return {"wrong": str(reason)}


def check(name: str, got: torch.Tensor, expected: torch.Tensor, bound: float) -> float:
    """The relative error in the 2-norm, below `bound`; no element further off than 15 times that,
    in units of the root mean square."""
    difference = got.double() - expected
    error = float(difference.norm() / expected.norm())
    worst = float(difference.abs().max() / expected.square().mean().sqrt())
    if not (error < bound and worst < 15 * bound):
        raise Wrong(
            f"{name}: relative error {error:.3g}, worst element {worst:.3g} rms, expected below "
            f"{bound} and {15 * bound:.3g}"
        )
    return error
